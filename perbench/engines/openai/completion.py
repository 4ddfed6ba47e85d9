"""Parses the reply of a chat completion strictly: the answer and its cost, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from perbench.contracts.engine import Generation
from perbench.disk.masking import Mask
from perbench.errors import PerbenchError
from perbench.lm.context import TooLong
from perbench.store.record import EndpointUse

from .absence import BROKEN, REFUSAL, THOUGHTS, ending, is_too_long, withheld
from .retry import Passing
from .section import Endpoint
from .wire import Reply, in_short

MAY_PASS = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may be transient."""
NEVER_PASS = frozenset({501, 505})
PASSING_CODES = {
    "rate_limit": 429,
    "too_many": 429,
    "overloaded": 503,
    "unavailable": 503,
    "server_error": 503,
    "timeout": 504,
}
"""What the code or type of an error holds that has no number."""
THOUGHT = re.compile(
    r"\s*<(think|thinking|thought|reasoning)>.*?</\1>\s*|(?:(?!<think>).)*?</think>\s*", re.DOTALL
)
OPENED = re.compile(r"\s*<(think|thinking|thought|reasoning)>")
MOST_TOKENS = 10**9
"""Larger token counts are ignored as invalid."""


def read_reply(reply: Reply, endpoint: Endpoint, mask: Mask) -> tuple[Generation, EndpointUse]:
    """The answer and its cost.

    Raises:
        Passing: a status or an error that may be transient, or a truncated reply.
        TooLong: the request exceeds the model's context, by the server's error.
        PerbenchError: any other status, error or format, with the server's message.
    """
    value = reply.value
    error = _error(value)
    if reply.status >= 400 or error is not None:
        filtered = withheld(error)
        if filtered is not None:
            return filtered, EndpointUse()
        raise _failure(reply, error, endpoint)
    if reply.fault == "cut":
        what = f"breaks off: {reply.words!r}" if reply.words else "is empty"
        raise Passing(f"the reply {what}", alive=bool(reply.words))
    if reply.fault == "too deep":
        raise PerbenchError(f"the reply is JSON nested too deeply to be read: {reply.words!r}")
    if reply.fault == "no JSON":
        kind = "a stream, which was not requested" if reply.words.startswith("data:") else "not JSON"
        raise PerbenchError(
            f"the reply is {kind} (does the address in {endpoint.place} end in /v1?): {reply.words!r}"
        )
    try:
        choice = value["choices"][0]
        text = mask(_joined(choice["message"].get("content")))  # as joined: see read_json
    except (KeyError, IndexError, TypeError, AttributeError):
        raise PerbenchError(f"the reply holds no readable answer: {reply.words!r}") from None
    finish, missing = ending(choice, text)
    if finish in BROKEN:
        raise Passing(f"the answer breaks off (finish_reason {finish!r})", alive=True)
    read, cached, written = _usage(value.get("usage"))
    name = value.get("model")
    use = EndpointUse(
        answers=1,
        unmetered=int(read is None),
        input_tokens=read or 0,
        cached_input_tokens=cached,
        output_tokens=written,
        served=[in_short(sound(name))] if isinstance(name, str) and name not in ("", endpoint.model) else [],
    )
    return Generation(text, finish, read or 0, written, missing), use


def thoughtless(reply: Generation) -> Generation:
    """The reply without the thought at its start: <think>…</think>, or …</think> if the prompt opened it. An
    unfinished thought leaves no answer."""
    found = THOUGHT.match(reply.text)
    if found is not None:
        answer = reply.text[found.end() :]
        missing = reply.missing or (None if answer.strip() else "only_thoughts")
        return replace(reply, text=answer, missing=missing)
    if OPENED.match(reply.text):
        return replace(reply, text="", missing=reply.missing or "only_thoughts")
    return reply


def sound(text: str) -> str:
    """`text` with each lone surrogate, which cannot be encoded, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _joined(content: Any) -> str:
    """The text of a content: a string, null, or a list of text parts, without thoughts and refusals.

    Raises:
        TypeError, KeyError: any other content.
    """
    if content is None or isinstance(content, str):
        return sound(content or "")
    if not isinstance(content, list):
        raise TypeError
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part["type"] in ("text", "output_text") and isinstance(part["text"], str):
            texts.append(part["text"])
        elif part["type"] not in (*THOUGHTS, REFUSAL):
            raise TypeError
    return sound("".join(texts))


def _usage(value: Any) -> tuple[int | None, int, int]:
    """Tokens read (None if the server does not report them), cached tokens among them, and tokens written."""
    if not isinstance(value, Mapping):
        return None, 0, 0
    read, written = value.get("prompt_tokens"), value.get("completion_tokens")
    if not _is_count(read) or not _is_count(written):
        return None, 0, 0
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return read, cached if _is_count(cached) and cached <= read else 0, written


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MOST_TOKENS  # excludes bool


# ---------------------------------------------------------------- errors


def _error(value: Any) -> Any:
    """The error reported by a reply of any status, or None."""
    if not isinstance(value, Mapping):
        return None
    if value.get("object") == "error":
        return value
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    inner = first.get("error") if isinstance(first, Mapping) else None
    return value.get("error") or inner or None


def _failure(reply: Reply, error: Any, endpoint: Endpoint) -> Exception:
    """The error as transient (`Passing`) or final."""
    fields = error if isinstance(error, Mapping) else {}
    code = " ".join(str(fields[key]) for key in ("code", "type") if isinstance(fields.get(key), (str, int)))
    given = fields.get("message") or error
    words = in_short(sound(given)) if isinstance(given, str) else reply.words
    status = reply.status if reply.status >= 400 else _status_of(fields.get("code"), code)
    message = f"status {status}{'' if reply.status >= 400 else ', in a reply of status 200'}: {words}"
    if status in (401, 403):
        return PerbenchError(f"the key in {endpoint.api_key_env} is refused (status {status}): {words}")
    if status != 429 and is_too_long(status, code, words):
        return TooLong(f"{message} (shorten the prompts: the task's max_length or persona.max_tokens)")
    passes = status in MAY_PASS or (status >= 500 and status not in NEVER_PASS)
    if passes and "insufficient_quota" not in code:
        return Passing(message, wait=reply.wait, alive=True, limited=status == 429)
    return PerbenchError(message + _hint(status, f"{code} {words} {reply.words}", endpoint))


def _status_of(code: Any, words: str) -> int:
    """The HTTP status in an error that came with status 200: its code, if that is a status."""
    if re.fullmatch(r"[45]\d\d", str(code)):
        return int(code)
    return next((status for part, status in PASSING_CODES.items() if part in words.lower()), 400)


def _hint(status: int, words: str, endpoint: Endpoint) -> str:
    """What to do about a final error, if the server's message suggests it."""
    if status == 404:
        return f" (check the model's name and that the address in {endpoint.place} ends in /v1)"
    sent = [name for name in endpoint.names.values() if re.search(rf"\b{re.escape(name)}\b", words)]
    if status in (400, 422) and sent:
        return f" (in the model's file, endpoint.send_as renames {' and '.join(sent)}, and null omits it)"
    return ""
