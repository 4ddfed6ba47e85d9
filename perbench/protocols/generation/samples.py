"""The stored sample of an example."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Swapped(TypedDict):
    """Log-probs (natural, summed) of a text under the user's own persona, then under each of `others`."""

    others: list[str]
    """Users whose personas were compared."""
    left_out: int
    """Number of users left out because one of the two personas does not fit into the prompt."""
    tokens: int
    """Tokens read by the scorer."""
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
    """History items in the prompt."""
    persona_trimmed: int
    """History items that did not fit."""
    missing: NotRequired[str]
    """Why there is no answer (`contracts.missing`)."""
    persona_swap: NotRequired[Swapped]
    own_adapter: NotRequired[bool]
    """Whether the user's own adapter answered; set if users may have adapters."""
