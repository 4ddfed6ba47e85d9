"""The stored sample of a document."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class DocumentSample(TypedDict):
    id: str
    """<task>/<index of the document>"""
    user: str
    """Same as `id`: intervals are over documents."""
    task: str
    lm_eval: str
    """Version of lm-eval."""
    question: str
    """The first prompt."""
    reference: str
    response: str
    metrics: dict[str, float | None]
    """Those whose value for the task is a mean over documents; None: not a number (NaN)."""
    corpus: dict[str, list[Any]]
    """[aggregation, what it reads of this document] of all others, such as ["weighted_perplexity",
    [log-likelihood, words]]."""
    unscored: dict[str, str]
    """Why a metric has no value here."""
    warnings: NotRequired[list[str]]
    """lm-eval's warnings while the document's chunk was evaluated."""
