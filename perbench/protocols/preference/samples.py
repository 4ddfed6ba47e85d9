"""The stored sample of an example."""

from __future__ import annotations

from typing import NotRequired

from perbench.judges.protocol import Verdicts


class JudgedAnswer(Verdicts):
    id: str
    user: str
    preference: str
    question: str
    turns_from: str | None
    """Who wrote the exchanges between preference and question, if the row says so."""
    first_reply: str
    """The reply to the preference."""
    response: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    missing: NotRequired[str]
    """Why the answer, or the reply to the preference, is missing (`contracts.missing`); nothing is judged."""
