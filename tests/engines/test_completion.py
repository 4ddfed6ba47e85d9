"""Replies as servers really send them: what is an answer, what may pass, what fails at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench.contracts.engine import Generation
from perbench.engines.openai.completion import thoughtless
from perbench.engines.openai.replies import ReplyCache
from perbench.errors import PerbenchError
from tests.engines.endpoint import ENDPOINT, GREEDY, KEY, Book, engine, failure, user
from tests.engines.standin import Reply, Server, completion, fault, yes


def answered(content: Any, **fields: Any) -> Reply:
    return Reply(200, {**completion(content), **fields})


# ---------------------------------------------------------------- answers

CONTENTS: dict[str, tuple[Any, str]] = {
    "a part of text": ([{"type": "text", "text": "A bean stew"}], "A bean stew"),
    "several": (
        [{"type": "text", "text": "A bean"}, {"type": "output_text", "text": " stew"}],
        "A bean stew",
    ),
    "bare strings": (["A bean", " stew"], "A bean stew"),
    "a thought beside": ([{"type": "thinking", "thinking": []}, {"type": "text", "text": "stew"}], "stew"),
    "half a surrogate pair": ("half an emoji \ud83d here", "half an emoji \ufffd here"),
    "a pair in two parts": (["\ud83d", "\ude00"], "\U0001f600"),
    "NUL and separators": ("nul \x00 and \u2028 sep", "nul \x00 and \u2028 sep"),
    "a thought before": ("<think>\nBeans? Perhaps 4 dogs.\n</think>\n\nA bean stew", "A bean stew"),
    "a thought that the prompt opened": ("Beans?\n</think>\n\nA bean stew", "A bean stew"),
    "tags amid the answer": ("Write <think> and </think> so", "Write <think> and </think> so"),
    "a refusal beside": ([{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "stew"}], "stew"),
    "a key in two parts": ([{"type": "text", "text": part} for part in (KEY[:9], KEY[9:])], "[key]"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_are_read_kept_and_paid_once(server: Server, tmp_path: Path, name: str) -> None:
    content, text = CONTENTS[name]
    server.answer, book = (lambda body: answered(content)), Book()
    for _ in range(2):
        (found,) = engine(cache=ReplyCache(tmp_path), book=book.append).chat([user("hi")], GREEDY, seed=0)
        assert (found.text, found.missing) == (text, None)
    assert (len(server.requests), book.sum("answers"), book.sum("reused")) == (1, 1, 1)
    assert book.sum("replaced") == (2 if "surrogate" in name else 0)
    assert book.sum("thoughts") == (2 if "thought" in name and "beside" not in name else 0)


@pytest.mark.parametrize("text", ["<think>They like", "<think>They like</think>", "beans</think> \n"])
def test_a_thought_alone_is_no_answer(text: str) -> None:
    found = thoughtless(Generation(text, "length", 1, 1))
    assert (found.text.strip(), found.missing) == ("", "only_thoughts")


@pytest.mark.parametrize("count", [True, 10**30, -1, "7", 7.0, None, [7], float("nan")])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_is_none_is_no_count(server: Server, tmp_path: Path, name: str, count: Any) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, name: count}
    server.answer, book = (lambda body: answered("yes", usage=usage)), Book()
    for _ in range(2):
        engine(cache=ReplyCache(tmp_path), book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert (book.sum("answers"), book.sum("unmetered"), book.sum("input_tokens")) == (1, 1, 0)
    assert len(server.requests) == 1


@pytest.mark.parametrize("usage", [7, [], "many", {"prompt_tokens": "x" * 9}])
def test_a_usage_that_is_none(server: Server, usage: Any) -> None:
    server.answer, book = (lambda body: answered("yes", usage=usage)), Book()
    engine(book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert (book.sum("answers"), book.sum("unmetered")) == (1, 1)


def test_thousands_of_digits_are_no_fault(server: Server) -> None:
    body = json.dumps(completion("yes", usage={"prompt_tokens": 1, "completion_tokens": 1}))
    server.answer = lambda _: Reply(
        200, body.replace('"prompt_tokens": 1', f'"prompt_tokens": {"9" * 9999}').encode()
    )
    assert engine().chat([user("hi")], GREEDY, seed=0)[0].text == "yes"


# ---------------------------------------------------------------- no answers

FINAL: dict[str, tuple[Reply, str]] = {
    "an error under 200": (
        Reply(200, {"error": {"code": 400, "message": "no such model here"}, "user_id": "u"}),
        "status 400, in a reply of status 200: no such model here",
    ),
    "a code in words": (Reply(200, {"error": {"code": "bad_thing", "message": "no"}}), "status 400"),
    "a code as text": (Reply(200, {"error": {"code": "422", "message": "no"}}), "status 422"),
    "an error that is text": (Reply(200, {"error": "model is not loaded"}), "model is not loaded"),
    "an error in a choice": (
        Reply(200, {"choices": [{"error": {"code": 404, "message": "gone"}, "message": {"content": ""}}]}),
        "status 404",
    ),
    "an error object": (Reply(200, {"object": "error", "message": "too small", "code": 400}), "too small"),
    "no choices": (Reply(200, {"choices": []}), '{"choices": []}'),
    "a welcome": (Reply(200, {"detail": "welcome"}), "welcome"),
    "a list": (Reply(200, [1]), "[1]"),
    "an image": (answered([{"type": "image_url", "image_url": "x"}]), "no readable answer"),
    "a number": (answered(7), "no readable answer"),
    "a page": (Reply(200, b"<html>another server</html>"), "<html>another server</html>"),
    "a stream": (
        Reply(200, b'data: {"choices":[]}\n\ndata: [DONE]\n\n'),
        "a stream, which was not requested",
    ),
    "deep": (Reply(200, b'{"choices": ' + b"[" * 100_000), "nested too deeply"),
    "deep and whole": (Reply(200, b"[" * 100_000 + b"]" * 100_000), "nested too deeply"),
    "an account": (fault(429, "pay first", "insufficient_quota"), "pay first"),
    "a page under 400": (Reply(400, b"<html>nginx</html>"), "<html>nginx</html>"),
    "not implemented": (fault(501, "never"), "status 501: never"),
    "a pydantic server": (Reply(422, {"detail": [{"loc": ["body"], "msg": "no"}]}), '"loc": ["body"]'),
    "too long": (fault(400, "maximum context length is 40 tokens"), "persona.max_tokens"),
}


@pytest.mark.parametrize("name", FINAL)
def test_what_cannot_be_read_or_cannot_pass_fails_at_once_with_the_servers_words(
    server: Server, name: str
) -> None:
    reply, words = FINAL[name]
    server.answer = lambda body: reply
    told = failure()
    assert words in told
    assert len(told) < 600
    assert len(server.requests) == 1


PASSING = {
    "an error of 503 under 200": Reply(200, {"error": {"code": 503, "message": "busy"}}),
    "a rate limit in words": Reply(200, {"error": {"type": "rate_limit_exceeded", "message": "busy"}}),
    "an empty body": Reply(200, b""),
    "half an object": Reply(200, json.dumps(completion("x"))[:60].encode()),
    "half of the compressed data": Reply(200, b"\x1f\x8b\x08\x00\x00", {"Content-Encoding": "gzip"}),
    **{
        f"an answer that ends on {word}": Reply(200, completion("A bean", word))
        for word in ("error", "abort", "insufficient_system_resource")
    },
    "a limit without a wait": fault(429, "slow down", Retry_After="0"),
}


@pytest.mark.parametrize("name", PASSING)
def test_every_further_attempt_is_announced(server: Server, name: str) -> None:
    replies, lines = [PASSING[name]], list[str]()
    server.answer = lambda body: replies.pop() if replies else yes(body)
    assert engine(say=lines.append).chat([user("hi")], GREEDY, seed=0)[0].text == "yes"
    (line,) = lines
    assert line.startswith("endpoint model 'some-judge': ")
    assert "; attempt 2 in " in line


# ---------------------------------------------------------------- what is sent


def sent(server: Server, sampling: Any = GREEDY, **keys: Any) -> dict[str, Any]:
    endpoint = type(ENDPOINT).model_validate({**ENDPOINT.model_dump(), **keys})
    engine(endpoint=endpoint).chat([user("hi")], sampling, seed=5)
    body = dict(server.requests[-1][2])
    assert body.pop("messages") == user("hi")
    assert body.pop("model") == "some-judge"
    return body


def test_parameters_are_sent_under_the_names_that_the_file_gives(server: Server) -> None:
    assert sent(server) == {"max_tokens": 9, "temperature": 0.0, "top_p": 0.5, "seed": 5}
    whole = GREEDY.model_copy(update={"top_p": 1.0})
    assert sent(server, whole) == {"max_tokens": 9, "temperature": 0.0, "seed": 5}
    names = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None, "top_p": None}
    assert sent(server, send_as=names) == {"max_completion_tokens": 9}
    extra = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
    assert sent(server, whole, send_as=names, extra=extra) == {"max_completion_tokens": 9, **extra}


def test_every_conversation_is_asked_with_its_own_seed(server: Server) -> None:
    engine().chat([user("hi"), user("ho"), user("hi")], GREEDY, seed=[1, 2, 3])
    asked = [(body["messages"][0]["content"], body["seed"]) for _, _, body in server.requests]
    assert sorted(asked) == [("hi", 1), ("hi", 3), ("ho", 2)]


@pytest.mark.parametrize(
    "keys",
    [
        {"send_as": {"seed": "model"}},
        {"send_as": {"seed": "temperature"}},
        {"send_as": {"max_new_tokens": "n"}},
        {"extra": {"temperature": 1}},
        {"extra": {"stream": True}},
        {"extra": {"x": float("nan")}},
        {"send_as": {"seed": ""}},
    ],
)
def test_names_that_cannot_be(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"send_as|extra"):
        type(ENDPOINT)(model="m", **keys)


def test_how_it_is_sent_identifies_an_answer_where_it_is_not_the_default(
    server: Server, tmp_path: Path
) -> None:
    cache, book = ReplyCache(tmp_path), Book()

    def ask(seed: int = 0, **keys: Any) -> None:
        endpoint = ENDPOINT.model_copy(update=keys)
        engine(endpoint=endpoint, cache=cache, book=book.append).chat([user("hi")], GREEDY, seed=seed)

    ask()
    ask(send_as={"seed": "seed"})
    assert len(server.requests) == 1
    for keys in (
        {"send_as": {"seed": None}},
        {"send_as": {"top_p": None}},
        {"extra": {"reasoning_effort": "low"}},
    ):
        ask(**keys)
    ask(
        seed=1, send_as={"seed": None}
    )  # another repetition is another answer, though the server is asked the same
    assert len(server.requests) == 5
    assert {name for use in book for name in use.unsent} == {"seed", "top_p"}


@pytest.mark.parametrize(
    ("refused", "status"), [("max_tokens", 400), ("temperature", 400), ("seed", 422), ("top_p", 400)]
)
def test_a_refused_parameter_names_the_key_that_helps(server: Server, refused: str, status: int) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        return fault(status, f"'{refused}' is not accepted by this model") if refused in body else yes(body)

    server.answer = answer
    with pytest.raises(PerbenchError, match=rf"endpoint.send_as .*{refused}"):
        engine().chat([user("hi")], GREEDY, seed=0)
    assert sent(server, send_as={refused: None}).keys().isdisjoint({refused})
