"""What is stored of a document."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Document(TypedDict):
    id: str
    """<task>/<number of the document>"""
    user: str
    """As `id`: intervals are over documents."""
    task: str
    lm_eval: str
    """Its version."""
    question: str
    """The first prompt."""
    reference: str
    response: str
    metrics: dict[str, float]
    unscored: list[str]
    """Metrics that lm-eval does not average over documents."""
    warnings: NotRequired[list[str]]
    """What lm-eval warned of when the document was evaluated, or others with it."""
