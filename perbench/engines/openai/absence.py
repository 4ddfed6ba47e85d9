"""Whether a reply holds an answer, why not, and its finish reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perbench.contracts.engine import Absence, Generation

CUT = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
)
"""Finish reasons of an answer truncated at the limit or the end of the context; all are read as "length"."""
FILTERED = frozenset(
    {"content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii"}
    | {"guardrail_intervened", "guardrails", "moderation"}
)
TOOLS = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
BROKEN = frozenset({"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource"})
"""Finish reasons of an answer that the server abandoned: a retry may succeed."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields in which servers return a model's thoughts."""
REFUSAL = "refusal"
"""The field, or the type of a content part, that explains a missing answer."""
WITHHELD_CODE = re.compile(
    r"content_?filter|content_?policy|responsible_?ai|invalid_prompt|moderation|guardrail"
)
WITHHELD_WORDS = re.compile(
    r"content (management )?policy|(prompt|input|request) (was|is|has been) (flagged|filtered|blocked)"
    r"|flagged as potentially violating|requires moderation"
)
"""Matches an error's message if the server withholds this answer, whatever the key or settings."""

TOO_LONG_CODE = re.compile(r"context_(length|window|size)|string_above_max_length|prompt_too_long")
TOO_LONG_WORDS = re.compile(
    r"context.?(length|window|size)|token count .{0,20}exceeds|too many tokens|longer than the (model|max)"
    r"|\b(prompt|input|messages?|request|conversation|text|string)s?( (is|are|was|were))? too long"
    r"|length of the (prompt|input|messages?)|`inputs` tokens \+ `max_new_tokens`"
)
"""Matches an error's message, with a status of TOO_LONG_STATUS, if the request exceeds the context."""
TOO_LONG_STATUS = frozenset({400, 413, 422})


def ending(choice: Mapping[str, Any], text: str) -> tuple[str, Absence | None]:
    """(finish_reason, missing) of a completion's choice whose answer is `text`, without thoughts; see
    `perbench.contracts.engine.Generation`. An answer truncated by a filter counts as missing."""
    word = choice.get("finish_reason")
    finish = str(word).lower() if isinstance(word, str) and re.fullmatch(r"[\w-]{1,40}", word) else "stop"
    finish = "length" if finish in CUT else finish
    message = choice.get("message")
    fields = message if isinstance(message, Mapping) else {}
    if finish in FILTERED:
        return finish, "filtered"
    parts = _types(fields)
    refuses = _says(fields.get("refusal")) or REFUSAL in parts
    if finish == "refusal" or (refuses and not text.strip()):
        return finish, "refused"
    if finish in TOOLS or (not text.strip() and (fields.get("tool_calls") or fields.get("function_call"))):
        return finish, "tool_call"
    if text.strip():
        return finish, None
    # If the server hides thoughts, only the token count reveals them.
    if finish == "length" or any(name in parts or _says(fields.get(name)) for name in THOUGHTS):
        return finish, "only_thoughts"
    return finish, "no_text" if fields.get("content") in (None, []) else None


def withheld(error: Any) -> Generation | None:
    """The missing answer if an error object (status 400 or more) reports that prompt or answer was filtered,
    else None."""
    if not isinstance(error, Mapping):
        return None
    inner = [error.get(name) for name in ("innererror", "inner_error", "metadata")]
    fields = [error, *(one for one in inner if isinstance(one, Mapping))]
    codes = " ".join(
        str(one.get(name)) for one in fields for name in ("code", "type", "reasons") if name in one
    )
    words = error.get("message")
    if WITHHELD_CODE.search(codes.lower()) or (_says(words) and WITHHELD_WORDS.search(str(words).lower())):
        return Generation("", "content_filter", 0, 0, "filtered")
    return None


def is_too_long(status: int, code: str, words: str) -> bool:
    """Whether an error reports that prompt and answer exceed the model's context."""
    by_words = status in TOO_LONG_STATUS and TOO_LONG_WORDS.search(words.lower())
    return bool(by_words or TOO_LONG_CODE.search(code.lower()))


def _says(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _types(fields: Mapping[str, Any]) -> list[Any]:
    """The type of each part of a content; empty if it is not a list of parts."""
    parts = fields.get("content")
    return (
        [part.get("type") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    )
