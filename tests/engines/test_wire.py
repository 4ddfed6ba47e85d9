"""What bounds a request: its time, its reply's size, the one server. Against real sockets."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest

from perbench.engines.openai import wire
from perbench.engines.openai.retry import STRANGERS
from perbench.errors import PerbenchError
from tests.engines.endpoint import ENDPOINT, GREEDY, KEY, Book, engine, failure, user
from tests.engines.standin import Reply, Server, completion
from tests.processes import ROOT

SHORT = ENDPOINT.model_copy(update={"timeout": 0.3})
BODY = json.dumps(completion("yes")).encode()


class Raw:
    """Sends what `play` sends down each connection, until `over`."""

    def __init__(self) -> None:
        self.play: Callable[[socket.socket], None] = lambda line: None
        self.over = threading.Event()
        self.asked = threading.Semaphore(0)
        self.requests = 0
        raw = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)
                raw.requests += 1
                raw.asked.release()
                try:
                    raw.play(self.request)
                except OSError:
                    """The client gave up, as it should."""

        class Quiet(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def drip(self, line: socket.socket, data: bytes) -> None:
        for byte in data:
            line.sendall(bytes([byte]))
            if self.over.wait(0.02):
                return

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[Raw]:
    found = Raw()
    monkeypatch.setenv("TEST_ADDRESS", found.address)
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield found
    found.close()


# ---------------------------------------------------------------- time


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS: dict[str, Callable[[Raw, socket.socket], None]] = {
    "nothing": lambda raw, line: raw.over.wait(20) and None,
    "the head": lambda raw, line: raw.drip(line, b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 999),
    "the body": lambda raw, line: (
        line.sendall(HEAD + b"Content-Length: 9999\r\n\r\n"),
        raw.drip(line, b" " * 9999),
    )[1],
    "chunks": lambda raw, line: (
        line.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        raw.drip(line, b"1\r\n \r\n" * 999),
    )[1],
}


@pytest.mark.parametrize("name", DRIPS)
def test_the_timeout_bounds_the_whole_answer(raw: Raw, name: str) -> None:
    raw.play = lambda line: DRIPS[name](raw, line)
    book = Book()
    with pytest.raises(Exception, match=r"no whole answer within 0.3 s from the address in TEST_ADDRESS"):
        engine(endpoint=SHORT, book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert (book.sum("requests"), book.sum("answers")) == (STRANGERS, 0)


INTERRUPTED = """
import sys
from perbench.console.signals import ending_interrupts
from tests.engines.endpoint import ENDPOINT, GREEDY, engine, user

endpoint = ENDPOINT.model_copy(update={"timeout": 600.0, "concurrency": 2})
say = lambda line: print(line, file=sys.stderr, flush=True)
with ending_interrupts():
    engine(endpoint=endpoint, say=say).chat([user("hi"), user("ho"), user("he")], GREEDY, seed=0)
"""


def interrupted() -> subprocess.Popen[str]:
    words = [sys.executable, "-c", INTERRUPTED]
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_a_second_interrupt_gives_up_at_once(raw: Raw) -> None:
    raw.play = lambda line: raw.over.wait(60) and None
    process = interrupted()
    assert process.stderr is not None
    for _ in range(2):
        assert raw.asked.acquire(timeout=60)
    process.send_signal(signal.SIGINT)
    assert "waiting for 2 pending requests" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    assert "KeyboardInterrupt" in process.stderr.read()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_waits_for_what_is_under_way(raw: Raw, signum: signal.Signals) -> None:
    answer = b"%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (HEAD, len(BODY), BODY)
    raw.play = lambda line: (raw.over.wait(60), line.sendall(answer))[1]
    process = interrupted()
    assert process.stderr is not None
    for _ in range(2):
        assert raw.asked.acquire(timeout=60)
    process.send_signal(signum)
    assert "waiting for 2 pending requests" in process.stderr.readline()
    raw.over.set()
    assert process.wait(20) != 0
    assert raw.requests == 2
    assert "never retrieved" not in process.stderr.read()  # of the third, which was not begun


# ---------------------------------------------------------------- size


def bomb(size: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b" " * (1 << 20)
    return b"".join([*(pack.compress(zeros) for _ in range(size >> 20)), pack.flush()])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b" " * (wire.MOST_BYTES + 1)),
        Reply(200, bomb(64 << 20), {"Content-Encoding": "gzip"}),
        Reply(500, bomb(64 << 20), {"Content-Encoding": "GZIP"}),
        Reply(200, gzip.compress(BODY + b" " * wire.MOST_BYTES), {"Content-Encoding": "gzip"}),
    ],
    ids=["plain", "a bomb", "a bomb under 500", "just too large"],
)
def test_a_reply_that_is_too_large_is_given_up(server: Server, reply: Reply) -> None:
    server.answer = lambda body: reply
    assert "larger than 8 MB" in failure()
    assert len(server.requests) == 1


def test_a_bomb_is_not_unpacked_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    packed = bomb(256 << 20)
    tracemalloc.start()
    with pytest.raises(Exception, match="larger than 8 MB"):
        wire._unpacked(packed, "gzip")
    assert tracemalloc.get_traced_memory()[1] < 4 * wire.MOST_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_packed_replies_are_read(server: Server, name: str, pack: Callable[[bytes], bytes]) -> None:
    server.answer = lambda body: Reply(200, pack(BODY), {"Content-Encoding": name})
    assert engine().chat([user("hi")], GREEDY, seed=0)[0].text == "yes"


def test_a_way_of_packing_that_nobody_asked_for(server: Server) -> None:
    server.answer = lambda body: Reply(200, BODY, {"Content-Encoding": f"br {KEY}"})
    assert "another encoding than gzip or deflate" in failure()
    assert len(server.requests) == 1


# ---------------------------------------------------------------- the one server


@pytest.mark.parametrize(
    "address", ["http://exa mple/v1", "http://a..b/v1", "http://xn--/v1", "http://[::1/v1"]
)
def test_an_address_that_no_server_has(server: Server, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("TEST_ADDRESS", address)
    with pytest.raises(PerbenchError, match="TEST_ADDRESS") as caught:
        engine().chat([user("hi")], GREEDY, seed=0)
    assert address not in str(caught.value)


def test_a_proxy_that_cannot_be_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://user:secret-word@proxy.example:70")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    told = failure()
    assert "HTTP_PROXY" in told
    assert "secret-word" not in told


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Server, status: int) -> None:
    other = Server()
    server.answer = lambda body: Reply(status, b"", {"Location": f"{other.address}/{KEY}"})
    try:
        told = failure()
        assert other.requests == []
    finally:
        other.close()
    assert f"redirects (status {status})" in told
    assert "set TEST_ADDRESS to the final address" in told
    assert other.address not in told
    assert len(server.requests) == 1
