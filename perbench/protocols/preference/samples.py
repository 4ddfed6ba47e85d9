"""What is stored of an example."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Overhead(TypedDict):
    """Tokens of the judge."""

    judge_prompt: int
    judge_generated: int


class Judged(TypedDict):
    id: str
    user: str
    preference: str
    question: str
    turns_from: str | None
    """Who wrote the exchanges between preference and question, where the row says so."""
    first_reply: str
    """To the preference."""
    response: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    checks: dict[str, bool | None]
    """By check; None where the judge gave no verdict, or was not asked."""
    checks_raw: dict[str, str]
    """The judge's replies."""
    checks_missing: dict[str, str]
    """Why a check has no verdict."""
    overhead: Overhead
    missing: NotRequired[str]
    """Why there is no answer, or none to the preference (`contracts.missing`); it is not judged."""
