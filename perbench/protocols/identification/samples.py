"""The stored sample of an example."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Skipped(TypedDict):
    """An example that the task skips as too long."""

    id: str
    split: str
    user: str
    missing: str


class Marked(TypedDict):
    id: str
    split: str
    """dev, used to choose thresholds, or test."""
    user: str
    persona: list[str]
    """The rendered items."""
    question: str
    response: str
    gold: list[list[int]]
    """[start, end) characters of the response; `kinds` and `sentences` have one entry each."""
    kinds: list[str | None]
    sentences: list[int | None]
    """Index of the persona item that supports the span."""
    distractors: list[list[int]]
    spans: list[list[int]]
    """[start, end) characters of each token; `scores` and, if given, `sources` have one entry each."""
    scores: list[float]
    sources: NotRequired[list[int | None]]
    """Index of the persona item to which the identifier attributes the token."""
    threshold: float
    """Tokens with a higher score are predicted personal."""
    threshold_of: NotRequired[Literal["response"]]
    """Given where the method set the threshold for this response alone; else it is the identifier's."""
    counts: dict[str, int]
    missing: NotRequired[str]
    """Why there are no scores (`contracts.missing`)."""
