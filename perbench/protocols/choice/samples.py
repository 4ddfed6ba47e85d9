"""The stored sample of an example."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class ChoiceSample(TypedDict):
    """Lists have an entry per option, in the row's order, if not said otherwise."""

    id: str
    user: str
    question: str
    reference: str
    options: list[str]
    orders: list[list[int]]
    """The order of options in which each request shows them, or, without requests, equal scores are
    resolved."""
    gold: NotRequired[int]
    ratings: NotRequired[list[float]]
    models: NotRequired[list[str]]
    """Who wrote each option, if the row says so."""
    response: str
    """The picked option, or the first reply."""
    finish_reason: str
    logp: NotRequired[list[float]]
    """Natural-log probability of each option after the prompt, summed over its tokens."""
    logp_without: NotRequired[list[float]]
    """The same after the prompt without persona."""
    option_tokens: NotRequired[list[int]]
    replies: NotRequired[list[str]]
    """One per order."""
    replies_without: NotRequired[list[str]]
    """Those to the prompt without persona."""
    persona_kept: int
    persona_trimmed: int
    prompt_tokens: int
    """Of the prompts with and without persona; each is read once."""
    new_tokens: int
    missing: NotRequired[str]
    own_adapter: NotRequired[bool]
    """Whether the user's own adapter answered; set if users may have adapters."""


Sample = dict[str, Any]
