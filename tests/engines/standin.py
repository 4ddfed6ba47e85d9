"""An OpenAI-compatible server on the loopback interface that fails on demand; a clock to wait by."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(text: str | None, finish: str = "stop", usage: dict[str, Any] | None = None) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} if usage is None else usage
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "some-judge",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
        **({"usage": usage} if usage else {}),
    }


class Reply:
    """What goes over the wire: `cut` announces the whole body and sends half of it."""

    def __init__(self, status: int, value: Any, headers: dict[str, str] | None = None, *, cut: bool = False):
        self.status = status
        self.data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.headers = headers or {}
        self.cut = cut


def yes(body: dict[str, Any]) -> Reply:
    return Reply(200, completion("yes"))


def fault(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"message": message, "code": code}}, given)


class Server:
    """Answers each request with `answer(body)`. `requests` holds all that came, in order; `most` is how many
    were under way at once."""

    def __init__(self, answer: Callable[[dict[str, Any]], Reply] = yes) -> None:
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        """Of each request, names in lower case."""
        self.answer = answer
        self.hold = threading.Event()
        self.hold.set()
        self.most = self._under_way = 0
        self._lock = threading.Lock()
        self._serve(0)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def restart(self) -> None:
        """After `close`: serve again at the same address."""
        self._serve(self._http.server_port)

    def close(self) -> None:
        self.hold.set()
        self._http.shutdown()
        self._http.server_close()

    def enter(self, request: tuple[str, str | None, dict[str, Any]]) -> None:
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.most = max(self.most, self._under_way)

    def leave(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _serve(self, port: int) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.enter((self.path, self.headers["Authorization"], body))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.hold.wait(10)
                reply = server.answer(body)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply.data)))
                self.end_headers()
                server.leave()
                self.wfile.write(reply.data[: len(reply.data) // 2] if reply.cut else reply.data)

            def log_message(self, *_: Any) -> None:
                """Nothing: the test's output is not the server's."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that gave up waiting closed its end; that is its right."""

        self._http = Quiet(("127.0.0.1", port), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()


class Time:
    """A clock that only waiting moves; `then` maps the number of a wait (from 1) to what happens in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.then: dict[int, Callable[[], None]] = {}

    def clock(self) -> float:
        return self.now

    async def pause(self, halt: asyncio.Event, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        self.then.get(len(self.waits), lambda: None)()
        await asyncio.sleep(0)
