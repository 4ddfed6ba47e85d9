"""What servers send in place of an answer, told apart from answers, empty ones too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perbench.engines.absence import ending, withheld
from perbench.engines.replies import ReplyCache
from tests.engines.endpoint import GREEDY, Book, engine, user
from tests.engines.standin import Reply, Server, completion, yes

CALL = [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
ENDINGS: dict[str, tuple[dict[str, Any], str | None, str, str | None]] = {
    # the message, the server's finish_reason, what is stored as finish_reason, and what is missing
    "an answer": ({"content": "yes"}, "stop", "stop", None),
    "a cut answer": ({"content": "ye"}, "length", "length", None),
    "cut, in another server's word": ({"content": "ye"}, "MAX_TOKENS", "length", None),
    "an end that is not OpenAI's": ({"content": "yes"}, "eos", "eos", None),
    "no word about the end": ({"content": "yes"}, None, "stop", None),
    "an end that is no word": ({"content": "yes"}, "\x1b[31m" * 9, "stop", None),
    "an answer with thoughts": ({"content": "yes", "reasoning_content": "hm"}, "stop", "stop", None),
    "an answer beside an empty refusal": ({"content": "yes", "refusal": ""}, "stop", "stop", None),
    "an empty answer": ({"content": ""}, "stop", "stop", None),
    "white space": ({"content": " \n"}, "stop", "stop", None),
    "refused": ({"content": None, "refusal": "I cannot help with that."}, "stop", "stop", "refused"),
    "refused by its end": ({"content": "I cannot."}, "refusal", "refusal", "refused"),
    "filtered": ({"content": None}, "content_filter", "content_filter", "filtered"),
    "filtered amid the answer": ({"content": "Take the"}, "content_filter", "content_filter", "filtered"),
    "filtered, in another's word": ({"content": ""}, "SAFETY", "safety", "filtered"),
    "a tool call": ({"content": None, "tool_calls": CALL}, "tool_calls", "tool_calls", "tool_call"),
    "a tool call under stop": ({"content": "", "tool_calls": CALL}, "stop", "stop", "tool_call"),
    "a tool call with words": (
        *({"content": "Let me look.", "tool_calls": CALL}, "tool_calls"),
        *("tool_calls", "tool_call"),
    ),
    "an old function call": (
        *({"content": None, "function_call": {"name": "f"}}, "function_call"),
        *("function_call", "tool_call"),
    ),
    "null": ({"content": None}, "stop", "stop", "no_text"),
    "no content": ({}, "stop", "stop", "no_text"),
    "thoughts": ({"content": None, "reasoning_content": "Beans?"}, "stop", "stop", "only_thoughts"),
    "thoughts beside an empty text": (
        {"content": "", "reasoning": "Beans?"},
        "stop",
        "stop",
        "only_thoughts",
    ),
    "parts that are thoughts": (
        *({"content": [{"type": "thinking", "thinking": "hm"}]}, "stop"),
        *("stop", "only_thoughts"),
    ),
    "cut amid hidden thoughts": ({"content": ""}, "length", "length", "only_thoughts"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_an_absent_answer_is_told_from_an_empty_one(name: str) -> None:
    message, said, finish, missing = ENDINGS[name]
    text = message["content"] if isinstance(message.get("content"), str) else ""
    assert ending({"finish_reason": said, "message": message}, text) == (finish, missing)


WITHHELD: dict[str, Any] = {
    "Azure": {
        "code": "content_filter",
        "message": "The response was filtered due to the prompt triggering our content management policy.",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    },
    "Azure's inner code alone": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
    "OpenAI": {"code": "invalid_prompt", "message": "Invalid prompt: your prompt was flagged"},
    "OpenAI, images": {"code": "content_policy_violation", "message": "no"},
    "OpenRouter": {"code": 403, "message": "x requires moderation. Your input was flagged.", "metadata": {}},
    "by its words": {"code": None, "message": "Your request was blocked."},
}
OTHERS: dict[str, Any] = {
    "a key": {"code": "invalid_api_key", "message": "Incorrect API key provided"},
    "an account": {"code": None, "message": "Your account has been flagged"},
    "a parameter": {"code": "unsupported_parameter", "message": "'max_tokens' is not supported"},
    "too long": {"code": "context_length_exceeded", "message": "maximum context length is 40 tokens"},
    "no object": "content_filter",
    "nothing": None,
}


@pytest.mark.parametrize("name", WITHHELD)
def test_a_filtered_prompt_is_a_missing_answer_under_an_error_status_too(name: str) -> None:
    found = withheld(WITHHELD[name])
    assert found is not None
    assert (found.text, found.finish_reason, found.missing) == ("", "content_filter", "filtered")


@pytest.mark.parametrize("name", OTHERS)
def test_other_errors_are_no_answers(name: str) -> None:
    assert withheld(OTHERS[name]) is None


def answer(body: dict[str, Any]) -> Reply:
    asked = body["messages"][0]["content"]
    if asked == "bad":
        return Reply(400, {"error": {"code": "content_filter", "message": "no"}})
    return Reply(200, completion(None, "stop")) if asked == "null" else yes(body)


def test_a_missing_answer_is_kept_and_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.answer, book = answer, Book()
    for _ in range(2):
        found = engine(cache=ReplyCache(tmp_path), book=book.append).chat(
            [user("good"), user("bad"), user("null")], GREEDY, seed=0
        )
        assert [one.missing for one in found] == [None, "filtered", "no_text"]
    assert len(server.requests) == book.sum("requests") == book.sum("reused") == 3
    assert book.sum("answers") == 2  # the error is no answer that was paid
