"""The stored sample of a document."""

from __future__ import annotations

from typing import NotRequired, TypedDict


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
    metrics: dict[str, float]
    unscored: list[str]
    """Metrics that lm-eval does not average over documents."""
    warnings: NotRequired[list[str]]
    """lm-eval's warnings while the document's chunk was evaluated."""
