"""What servers send in place of an answer, told apart from answers, empty ones too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perbench.engines.openai.absence import ending, is_too_long, withheld
from perbench.engines.openai.replies import ReplyCache
from perbench.lm.context import TooLong
from tests.engines.endpoint import GREEDY, Book, engine, user
from tests.engines.standin import Reply, Server, completion, fault, yes

CALL = [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
ENDINGS: dict[str, tuple[dict[str, Any], str | None, str, str | None]] = {
    # the message, the server's finish_reason, what is stored as finish_reason, and what is missing
    "an answer": ({"content": "yes"}, "stop", "stop", None),
    "a cut answer": ({"content": "ye"}, "length", "length", None),
    "cut, in another server's word": ({"content": "ye"}, "MAX_TOKENS", "length", None),
    "cut at the end of the context": ({"content": "ye"}, "model_length", "length", None),
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
    "a part that refuses": (
        *({"content": [{"type": "refusal", "refusal": "No."}]}, "stop"),
        *("stop", "refused"),
    ),
    "no parts": ({"content": []}, "stop", "stop", "no_text"),
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


# ---------------------------------------------------------------- requests that are too long

TOO_LONG: dict[str, tuple[int, str, str]] = {
    # status, code and type, message
    "OpenAI": (400, "context_length_exceeded invalid_request_error", "Reduce the length of the messages."),
    "vLLM": (400, "400 BadRequestError", "This model's maximum context length is 40 tokens. However, you"),
    "SGLang": (400, "400", "The input (90 tokens) is longer than the model's context length (40 tokens)."),
    "llama.cpp": (400, "400 exceed_context_size_error", "the request exceeds the available context size."),
    "an older llama.cpp": (500, "500 exceed_context_size_error", "the request exceeds it"),
    "llama-cpp-python": (400, "", "Requested tokens (2285) exceed context window of 2048"),
    "Anthropic": (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "Gemini": (400, "400", "The input token count (60) exceeds the maximum number of tokens allowed (40)."),
    "Mistral": (400, "", "Prompt contains 90 tokens, too large for model with 40 maximum context length"),
    "TGI": (422, "validation", "`inputs` tokens + `max_new_tokens` must be <= 40. Given: 90"),
    "Bedrock": (400, "", "Input is too long for requested model."),
    "a proxy": (413, "", "messages[0].content: string too long"),
}
OTHER_FAULTS: dict[str, tuple[int, str, str]] = {
    "a rate limit": (429, "tokens", "Request too large on tokens per minute (TPM): reduce your message size"),
    "the answer's limit": (400, "invalid_value", "max_tokens is too large: 9. At most 5 are supported"),
    "a name": (404, "", "no model with a context window of 4096 here"),
    "a slow server": (400, "timeout", "the request took too long"),
    "a parameter": (400, "", "seed: value too long"),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_what_servers_say_of_a_request_beyond_their_context(name: str) -> None:
    assert is_too_long(*TOO_LONG[name])


@pytest.mark.parametrize("name", OTHER_FAULTS)
def test_other_faults_are_not_taken_for_it(name: str) -> None:
    assert not is_too_long(*OTHER_FAULTS[name])


def narrow(body: dict[str, Any]) -> Reply:
    long = len(body["messages"][0]["content"]) > 9
    return fault(400, "maximum context length is 40 tokens", "context_length_exceeded") if long else yes(body)


def test_a_request_that_is_too_long_is_skipped_and_kept_or_an_error(server: Server, tmp_path: Path) -> None:
    server.answer, book = narrow, Book()
    asked = [user("short"), user("deer " * 9)]
    for _ in range(2):
        made = engine(cache=ReplyCache(tmp_path), book=book.append)
        assert [one.missing for one in made.chat(asked, GREEDY, seed=0, skip=True)] == [None, "too_long"]
    assert len(server.requests) == book.sum("requests") == book.sum("reused") == 2
    assert book.sum("answers") == 1
    for number in (3, 4):  # under `fail` it is asked again: a server may have been started with more
        with pytest.raises(TooLong, match=r"context length is 40 tokens \(shorten the prompts: .*max_length"):
            engine(cache=ReplyCache(tmp_path)).chat(asked, GREEDY, seed=0)
        assert len(server.requests) == number
    server.answer = yes
    found = engine(cache=ReplyCache(tmp_path)).chat(asked, GREEDY, seed=0)
    assert [one.missing for one in found] == [None, None]
    assert len(server.requests) == 5
