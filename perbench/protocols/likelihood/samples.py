"""The stored sample of an example."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Likelihood(TypedDict):
    """Log-probs (natural, of each token) of the user's own text, without the end of turn."""

    id: str
    user: str
    question: str
    reference: str
    own: list[float]
    """Under the user's own persona."""
    none: list[float]
    """Without a persona."""
    others: list[str]
    """Users whose personas took the place of the user's own."""
    other: list[list[float]]
    """Under the persona of each of `others`."""
    left_out: int
    """Number of other users left out because one of the two personas does not fit into the prompt."""
    personal: list[int]
    """Indices of the personal tokens."""
    characters: int
    """Characters of the text that was scored."""
    cut: int
    """Tokens of the text left out (`on_too_long: cut`)."""
    prompt_tokens: int
    """Tokens of all prompts that the text was scored after."""
    persona_kept: int
    """History items in the prompt with the user's own persona."""
    persona_trimmed: int
    """History items that did not fit."""
    missing: NotRequired[str]
    """Why there is no score (`contracts.missing`); all lists are then empty."""
    own_adapter: NotRequired[bool]
    """Whether the user's own adapter was in force; set if users may have adapters."""
