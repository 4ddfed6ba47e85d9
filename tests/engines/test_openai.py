"""The endpoint engine against a small server on the loopback interface; only the remote side is made up."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from perbench import models
from perbench.api import Example
from perbench.engines import openai as engine_module
from perbench.engines.openai import OpenAIEngine
from perbench.errors import PerbenchError, SpecError
from perbench.matrix.engines import EnginePool
from perbench.plugins import load_identifier
from perbench.protocols.identification import persona_text
from perbench.specs.load import Named, load_model, load_task
from perbench.specs.model import Endpoint, ModelSpec
from perbench.specs.task import SamplingSpec

KEY = "sk-very-secret-123"
ENDPOINT = Endpoint(model="some-judge", base_url_env="TEST_ADDRESS", api_key_env="TEST_KEY")
GREEDY = SamplingSpec(max_new_tokens=9, temperature=0.0, top_p=0.5)


def completion(text: str | None, finish: str = "stop", usage: bool = True) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "some-judge",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
        **({"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}} if usage else {}),
    }


class Server:
    """Answers each request with `answer(body)`: a status and a JSON body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.answer: Any = lambda body: (200, completion("yes"))
        self.hold = threading.Event()
        self.hold.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, self.headers["Authorization"], body))
                server.hold.wait(10)
                status, reply = server.answer(body)
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Nothing: the test's output is not the server's."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    monkeypatch.setenv("TEST_ADDRESS", found.address)
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(engine_module, "RETRIES", 0)
    yield found
    found.close()


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def failure() -> str:
    with pytest.raises(PerbenchError) as caught:
        OpenAIEngine(ENDPOINT).chat([user("hi")], GREEDY, seed=0)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


# ---------------------------------------------------------------- answers


def test_answers_come_in_order_with_what_was_asked(server: Server) -> None:
    server.answer = lambda body: (200, completion(body["messages"][-1]["content"].upper()))
    engine = OpenAIEngine(ENDPOINT)
    texts = [f"text {i}" for i in range(30)]
    found = engine.chat([user(text) for text in texts], GREEDY, seed=5)
    assert [one.text for one in found] == [text.upper() for text in texts]
    assert {(one.finish_reason, one.prompt_tokens, one.new_tokens) for one in found} == {("stop", 7, 3)}
    path, key, body = server.requests[0]
    assert (path, key) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert body.pop("messages")[0]["role"] == "user"
    assert body == {"model": "some-judge", "max_tokens": 9, "temperature": 0.0, "top_p": 0.5, "seed": 5}
    assert engine.name.startswith("openai ")


def test_cut_and_empty_answers(server: Server) -> None:
    server.answer = lambda body: (200, completion(None, "length", usage=False))
    (found,) = OpenAIEngine(ENDPOINT).chat([user("hi")], GREEDY, seed=0)
    assert (found.text, found.finish_reason, found.prompt_tokens, found.new_tokens) == ("", "length", 0, 0)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the key in TEST_KEY is refused (status 401)"),
        (403, "the key in TEST_KEY is refused (status 403)"),
        (404, "check the model's name, and that the address in TEST_ADDRESS ends in /v1"),
        (400, "Error code: 400"),
        (500, "Error code: 500"),
    ],
)
def test_refusals(server: Server, status: int, message: str) -> None:
    server.answer = lambda body: (status, {"error": {"message": f"no such thing, {KEY}"}})
    told = failure()
    assert told.startswith("endpoint model 'some-judge': ")
    assert message in told


def test_a_reply_without_an_answer(server: Server) -> None:
    server.answer = lambda body: (200, {**completion(""), "choices": []})
    assert "the reply holds no answer" in failure()


def test_a_reply_that_is_no_completion(server: Server) -> None:
    server.answer = lambda body: (200, {"detail": "welcome"})
    assert "the reply holds no answer" in failure()


def test_a_server_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "TIMEOUT", 0.2)
    server.hold.clear()
    assert "no answer within 0.2 s from the address in TEST_ADDRESS" in failure()


def test_no_server(server: Server) -> None:
    server.close()
    assert "nothing answers at the address in TEST_ADDRESS" in failure()


@pytest.mark.parametrize("name", ["TEST_ADDRESS", "TEST_KEY"])
def test_the_environment_is_named(server: Server, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(PerbenchError, match=f"set the environment variable {name}"):
        OpenAIEngine(ENDPOINT)


def test_without_the_package(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(PerbenchError, match=r"pip install 'perbench\[openai\]'"):
        OpenAIEngine(ENDPOINT)


# ---------------------------------------------------------------- what it is not


def test_what_an_endpoint_cannot_do(server: Server, tmp_path: Any) -> None:
    engine = OpenAIEngine(ENDPOINT)
    engine.load_adapter(None)
    for attempt in (
        lambda: engine.score([[1]], [[2]]),
        lambda: engine.generate([[1]], GREEDY, seed=0),
        lambda: engine.tokenizer,
        lambda: engine.load_adapter(tmp_path),
    ):
        with pytest.raises(PerbenchError, match=r"an endpoint .*; it can only chat \(identifier llm_judge\)"):
            attempt()
    assert server.requests == []


def named() -> Named[ModelSpec]:
    return Named("judge", ModelSpec(summary="a judge", endpoint=ENDPOINT), None)


def test_its_identity_is_its_name_alone() -> None:
    assert models.identify(named()) == {"endpoint": "some-judge"}
    assert models.at_hand(named()) is None
    with pytest.raises(PerbenchError, match="judge is an endpoint: its weights are not on this machine"):
        models.resolve(named())


def test_a_run_opens_it(server: Server) -> None:
    pool = EnginePool(SimpleNamespace(model=lambda name: named()))  # type: ignore[arg-type]
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
    server.answer = lambda body: (200, completion("Keywords: deer, season"))
    spec = load_task("identification/persona_qa").spec
    example = Example("e", "u", "And you?", "Got a deer last season.", ({"text": "I hunt."},))
    text = persona_text(spec, example, None)
    (found,) = load_identifier("llm_judge").score([text], OpenAIEngine(ENDPOINT))
    assert found.scores == (0.0, 0.0, 1.0, 0.0, 1.0)
    with pytest.raises(PerbenchError, match="gives no log-probs"):
        load_identifier("percontrast").score([text], OpenAIEngine(ENDPOINT))
