"""The endpoint engine against a small server on the loopback interface; only the remote side is made up."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perbench.api import Example
from perbench.engines.openai.engine import OpenAIEngine
from perbench.engines.openai.replies import ReplyCache
from perbench.engines.openai.retry import LONGEST_WAIT, STRANGERS
from perbench.engines.openai.section import OPENAI_URL, Endpoint
from perbench.errors import PerbenchError, SpecError
from perbench.lm import models
from perbench.matrix.engines import EnginePool
from perbench.plugins import load_identifier
from perbench.protocols.identification.scoring import persona_text
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.specs.compose import engine_of, model_spec
from perbench.specs.load import load_model, load_task
from tests.engines.endpoint import ENDPOINT, GREEDY, KEY, Book, engine, failure, user
from tests.engines.standin import Reply, Server, Time, completion, fault, yes

# ---------------------------------------------------------------- answers


def test_answers_come_in_order_with_what_was_asked(server: Server) -> None:
    server.answer = lambda body: Reply(200, completion(body["messages"][-1]["content"].upper()))
    asked = engine()
    texts = [f"text {i}" for i in range(30)]
    found = asked.chat([user(text) for text in texts], GREEDY, seed=5)
    assert [one.text for one in found] == [text.upper() for text in texts]
    assert {(one.finish_reason, one.prompt_tokens, one.new_tokens) for one in found} == {("stop", 7, 3)}
    path, key, body = server.requests[0]
    assert (path, key) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert body.pop("messages")[0]["role"] == "user"
    assert body == {"model": "some-judge", "max_tokens": 9, "temperature": 0.0, "top_p": 0.5, "seed": 5}
    assert asked.name.startswith("openai ")


def test_cut_and_empty_answers(server: Server) -> None:
    server.answer = lambda body: Reply(200, completion(None, "length", usage={}))
    book = Book()
    (found,) = engine(book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert (found.text, found.finish_reason, found.missing) == ("", "length", "only_thoughts")
    assert (found.prompt_tokens, found.new_tokens) == (0, 0)
    assert book.sum("unmetered") == 1


def test_no_more_requests_at_once_than_allowed(server: Server) -> None:
    endpoint = ENDPOINT.model_copy(update={"concurrency": 3})
    three = threading.Barrier(3)

    def together(body: dict[str, Any]) -> Reply:
        three.wait(10)  # breaks, and the request fails, unless three are there at once
        return yes(body)

    server.answer = together
    engine(endpoint=endpoint).chat([user(f"{i}") for i in range(9)], GREEDY, seed=0)
    assert (server.most, len(server.requests)) == (3, 9)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the key in TEST_KEY is refused (status 401)"),
        (403, "the key in TEST_KEY is refused (status 403)"),
        (404, "check the model's name and that the address in TEST_ADDRESS ends in /v1"),
        (400, "status 400: no such thing, [key]"),
        (422, "status 422: no such thing, [key]"),
    ],
)
def test_refusals_are_final(server: Server, status: int, message: str) -> None:
    server.answer = lambda body: fault(status, f"no such thing, {KEY}")
    told = failure()
    assert told.startswith("endpoint model 'some-judge': ")
    assert message in told
    assert len(server.requests) == 1


def test_a_used_up_account_is_no_rate_limit(server: Server) -> None:
    server.answer = lambda body: fault(429, "pay first", "insufficient_quota")
    assert "pay first" in failure()
    assert len(server.requests) == 1


def test_a_refusal_ends_the_call(server: Server) -> None:
    server.answer = lambda body: fault(401)
    with pytest.raises(PerbenchError, match="is refused"):
        engine().chat([user(f"{i}") for i in range(200)], GREEDY, seed=0)
    assert len(server.requests) < 100


def test_a_reply_that_cannot_be_kept_ends_the_call(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("perbench.disk.cache.DiskCache.put", full)
    with pytest.raises(OSError, match="No space left"):
        engine(cache=ReplyCache(tmp_path)).chat([user(f"{i}") for i in range(200)], GREEDY, seed=0)
    assert len(server.requests) < 100


class Faults:
    """Each request gets the next of `replies`; then all are answered."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.answered = 0

    def __call__(self, body: dict[str, Any]) -> Reply:
        if self.replies:
            return self.replies.pop(0)
        self.answered += 1
        return yes(body)


def test_broken_replies_show_that_the_server_is_there(server: Server) -> None:
    server.answer = Faults(*[Reply(200, b'{"choices": [{"mess')] * (STRANGERS + 2))
    assert engine().chat([user("hi")], GREEDY, seed=0)[0].text == "yes"
    assert len(server.requests) == STRANGERS + 3


WHOLE = completion("yes")
PASSING = {
    "429": fault(429),
    "429 with a wait": fault(429, Retry_After="3"),
    "408": fault(408),
    "409": fault(409),
    "500": fault(500),
    "503 in words": Reply(503, b"<html>busy</html>"),
    "half a body": Reply(200, WHOLE, cut=True),
    "truncated JSON": Reply(200, b'{"id": "1", "choices": [{"index": 0, "mess'),
    "an error under 200": Reply(200, {"error": {"code": 503, "message": "busy"}}),
    "an error in words": Reply(200, {"error": {"code": None, "type": "overloaded_error", "message": "busy"}}),
    "nothing": Reply(200, b""),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again(server: Server, name: str) -> None:
    server.answer, time, book = Faults(PASSING[name], PASSING[name]), Time(), Book()
    (found,) = engine(time, book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert found.text == "yes"
    assert len(server.requests) == book.sum("requests") == 3
    assert (book.sum("answers"), book.sum("input_tokens"), book.sum("output_tokens")) == (1, 7, 3)
    assert sum(time.waits) >= (6.0 if "wait" in name else 1.0)


def test_a_limit_that_never_lifts_ends_the_run(server: Server) -> None:
    server.answer = lambda body: fault(500, f"no luck, {KEY}")
    told = failure()
    assert "status 500: no luck, [key]" in told
    assert "given up after" in told


def test_a_used_up_limit_is_waited_for_before_it_is_overrun(server: Server) -> None:
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}
    server.answer, time = (lambda body: Reply(200, WHOLE, spent)), Time()
    asked = engine(time)
    asked.chat([user("one")], GREEDY, seed=0)
    assert time.waits == []
    asked.chat([user("two")], GREEDY, seed=0)
    assert 9.0 <= sum(time.waits) < 10.0


@pytest.mark.parametrize("reset", ["30d", "1795951000", "9" * 400])
def test_a_limit_renewed_far_off_is_no_reason_to_wait_in_silence(server: Server, reset: str) -> None:
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    server.answer, time = (lambda body: Reply(200, WHOLE, spent)), Time()
    asked = engine(time)
    for text in ("one", "two"):
        asked.chat([user(text)], GREEDY, seed=0)
    assert sum(time.waits) <= 1.1 * LONGEST_WAIT


def test_a_server_that_does_not_answer(server: Server) -> None:
    server.hold.clear()
    slow = ENDPOINT.model_copy(update={"timeout": 0.1})
    with pytest.raises(PerbenchError, match=r"no whole answer within 0.1 s from the address in TEST_ADDRESS"):
        engine(endpoint=slow).chat([user("hi")], GREEDY, seed=0)
    assert len(server.requests) == STRANGERS


def test_a_timeout_passes(server: Server) -> None:
    server.hold.clear()
    time, slow = Time(), ENDPOINT.model_copy(update={"timeout": 0.1})
    time.then[1] = server.hold.set
    assert engine(time, slow).chat([user("hi")], GREEDY, seed=0)[0].text == "yes"


def test_no_server(server: Server) -> None:
    server.close()
    assert "to the address in TEST_ADDRESS: is the server running? (given up after 3 attempts" in failure()


def test_a_server_killed_and_restarted_at_its_address(server: Server) -> None:
    time = Time()
    asked = engine(time)
    assert asked.chat([user("before")], GREEDY, seed=0)[0].text == "yes"
    server.close()
    time.then[STRANGERS + 2] = server.restart
    assert asked.chat([user("after")], GREEDY, seed=0)[0].text == "yes"
    assert len(server.requests) == 2


# ---------------------------------------------------------------- address and key


def test_openai_is_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    endpoint = load_model("openai/gpt-4o").spec.endpoint
    assert endpoint == Endpoint(model="gpt-4o")
    assert endpoint.url == OPENAI_URL
    assert endpoint.absent() == [
        "set the environment variable OPENAI_API_KEY to the key (any text if the server needs none) "
        "of endpoint model 'gpt-4o'"
    ]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://here/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert endpoint.url == "http://here/v1"
    assert endpoint.absent() == []
    assert Endpoint(model="m", base_url="http://there/v1").url == "http://there/v1"
    with pytest.raises(PerbenchError, match="unknown model 'openai/'"):
        load_model("openai/")


def test_the_specs_address_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_ADDRESS")
    endpoint = Endpoint(model="m", base_url=server.address, api_key_env="TEST_KEY")
    assert engine(endpoint=endpoint).chat([user("hi")], GREEDY, seed=0)[0].text == "yes"


@pytest.mark.parametrize("name", ["TEST_ADDRESS", "TEST_KEY"])
def test_the_environment_is_named(server: Server, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(PerbenchError, match=f"set the environment variable {name}"):
        OpenAIEngine(ENDPOINT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("TEST_ADDRESS", text) for text in ("http://here:abc/v1", "here:8000/v1", "http:///v1", "here/v1")),
        *(("TEST_KEY", text) for text in ("k\u00e9y-hush", "key-hush\n", "key hush")),
    ],
)
def test_an_impossible_address_or_key_is_told_beforehand(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (told,) = ENDPOINT.absent()
    assert f"the environment variable {name}, " in told
    assert "hush" not in told
    with pytest.raises(PerbenchError, match=f"the environment variable {name}"):
        OpenAIEngine(ENDPOINT)


def test_the_account_is_for_openai_alone_and_no_more_shown_than_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-7f3a9c1e5b2d8f60")
    monkeypatch.delenv("OPENAI_PROJECT_ID", raising=False)
    server.answer = lambda body: fault(400, "no more for organization org-7f3a9c1e5b2d8f60")
    failure()
    monkeypatch.setattr("perbench.engines.openai.engine.OPENAI_URL", server.address)
    assert "organization [key]" in failure()
    assert [asked.get("openai-organization") for asked in server.headers] == [None, "org-7f3a9c1e5b2d8f60"]


# ---------------------------------------------------------------- what it is not


def test_what_an_endpoint_cannot_do(server: Server, tmp_path: Any) -> None:
    asked = engine()
    asked.load_adapter(None)
    for attempt in (
        lambda: asked.score([[1]], [[2]]),
        lambda: asked.generate([[1]], GREEDY, seed=0),
        lambda: asked.tokenizer,
        lambda: asked.load_adapter(tmp_path),
    ):
        with pytest.raises(PerbenchError, match=r"endpoint model 'some-judge' .*\(hub, path or gguf\)"):
            attempt()
    assert server.requests == []


def named() -> Named[ModelSpec]:
    return Named(
        "judge", model_spec().model_validate({"summary": "a judge", "endpoint": ENDPOINT.model_dump()}), None
    )


def test_its_identity_is_its_name_alone() -> None:
    assert engine_of(named()).identify() == {"endpoint": "some-judge"}
    assert models.at_hand(named()) is None
    with pytest.raises(PerbenchError, match="judge names no weights"):
        models.resolve(named())


def test_a_run_opens_it(server: Server) -> None:
    pool = EnginePool(SimpleNamespace(model=lambda name: named(), resolve=None, longest=None, rank=None))  # type: ignore[arg-type]
    assert isinstance(pool.serve(named(), None), OpenAIEngine)
    assert isinstance(pool.named("judge"), OpenAIEngine)


def test_the_spec(tmp_path: Any) -> None:
    file = tmp_path / "leaderboard" / "models" / "judge.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("summary: s\nendpoint:\n  model: m\n  api_key_env: K\n")
    assert load_model(str(file)).spec.endpoint == Endpoint(model="m", api_key_env="K")
    file.write_text("summary: s\nendpoint: {model: m}\npath: here\n")
    with pytest.raises(SpecError, match="exactly one of hub, path, gguf, endpoint"):
        load_model(str(file))


def test_it_judges(server: Server) -> None:
    server.answer = lambda body: Reply(200, completion("Keywords: deer, season"))
    spec = load_task("identification/persona_qa").spec
    example = Example("e", "u", "And you?", "Got a deer last season.", ({"text": "I hunt."},))
    text = persona_text(spec, example, None)
    (found,) = load_identifier("llm_judge").score([text], engine())
    assert found.scores == (0.0, 0.0, 1.0, 0.0, 1.0)
    with pytest.raises(PerbenchError, match="gives no log-probs"):
        load_identifier("percontrast").score([text], engine())
