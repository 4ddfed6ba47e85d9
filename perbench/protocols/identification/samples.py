"""What is stored of an example."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Skipped(TypedDict):
    """An example that is too long, where the task skips those."""

    id: str
    split: str
    user: str
    missing: str


class Marked(TypedDict):
    id: str
    split: str
    """dev, on which thresholds are chosen, or test."""
    user: str
    persona: list[str]
    """Rendered items."""
    question: str
    response: str
    gold: list[list[int]]
    """[start, end) characters of the response; `kinds` and `sentences` have an entry for each."""
    kinds: list[str | None]
    sentences: list[int | None]
    """Index of the persona's item that supports the span."""
    distractors: list[list[int]]
    spans: list[list[int]]
    """[start, end) characters of each token; `scores`, and `sources` where given, have an entry for each."""
    scores: list[float]
    sources: NotRequired[list[int | None]]
    """Index of the persona's item that the identifier holds responsible."""
    threshold: float
    """Above it, a token is predicted personal."""
    counts: dict[str, int]
    missing: NotRequired[str]
    """Why there are no scores (`contracts.missing`)."""
