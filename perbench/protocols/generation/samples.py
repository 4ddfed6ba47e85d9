"""What is stored of an example."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Swapped(TypedDict):
    """Log-probs (natural, summed) of a text under the own persona, then under each of `others`."""

    others: list[str]
    """Users whose personas were tried."""
    left_out: int
    """Users whose personas do not fit into the prompt."""
    tokens: int
    """Read for all of it."""
    response: list[float]
    reference: list[float]


class Answer(TypedDict):
    id: str
    user: str
    question: str
    reference: str
    response: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    persona_kept: int
    """Items of the history in the prompt."""
    persona_trimmed: int
    """Items that did not fit."""
    missing: NotRequired[str]
    """Why there is no answer (`contracts.missing`)."""
    persona_swap: NotRequired[Swapped]
    own_adapter: NotRequired[bool]
    """Whether the user's own adapter answered, where users may have one."""
