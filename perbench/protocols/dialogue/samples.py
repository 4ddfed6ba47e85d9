"""The stored sample of a dialogue turn."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Overhead(TypedDict):
    """Tokens of the simulator and of all judges."""

    simulator_prompt: int
    simulator_generated: int
    judge_prompt: int
    judge_generated: int


class Rated(TypedDict):
    """A reply's ratings."""

    rating: int | None
    """1 to 5; None if the judge gave none."""
    rating_raw: list[str]
    """Every reply of the judge."""
    rating_missing: NotRequired[str]
    rating_second: NotRequired[int | None]
    """The second judge's, if there is one, with its replies and the reason for a missing rating."""
    rating_second_raw: NotRequired[list[str]]
    rating_second_missing: NotRequired[str]


class Turn(Rated):
    id: str
    """<example>#<turn>"""
    user: str
    turn: int
    """From 1."""
    message: str
    """The simulated user's, without stage directions."""
    response: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    turns_dropped: int
    """Number of oldest turns left out of the prompt to fit max_length."""
    pmi: float | None
    """Nats per token."""
    overhead: Overhead
    missing: NotRequired[str]
    """Why the message or the reply is missing (`contracts.missing`). The dialogue ends here; its later turns
    are missing, too."""
