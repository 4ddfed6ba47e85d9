"""A stand-in on 127.0.0.1 for the hosts that data are fetched from, and a family whose files it has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from perbench.prepare import fetch

COMMIT = "c" * 40
LATER = "d" * 40


def git_blob(content: bytes) -> str:
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Host:
    """Serves `files` ("OWNER/NAME/PATH" -> content) at COMMIT, as GitHub's raw files and as a dataset hub,
    and those below "web/" as they are.

    `cut`: so many bytes of an answer go out, then the connection breaks, once for each entry; `failing`: so
    many answers are HTTP 503; `wrong`: files whose content differs from what the hub lists. `asked` holds the
    requests, (path, Range).
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.head = COMMIT
        self.cut: list[int] = []
        self.failing = 0
        self.wrong: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []

    def listing(self, repository: str) -> dict[str, Any]:
        siblings = []
        for name, content in self.files.items():
            if name.startswith(f"{repository}/"):
                entry: dict[str, Any] = {"rfilename": name.removeprefix(f"{repository}/")}
                if name.endswith(".parquet"):
                    entry["lfs"] = {"sha256": sha256(content).hexdigest()}
                else:
                    entry["blobId"] = git_blob(content)
                siblings.append(entry)
        return {"sha": self.head, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    host: Host

    def do_GET(self) -> None:
        path, wanted = unquote(self.path.partition("?")[0]), self.headers.get("Range")
        self.host.asked.append((path, wanted))
        if self.host.failing:
            self.host.failing -= 1
            self.send_error(503)
            return
        if path.startswith("/api/datasets/"):
            repository = path.removeprefix("/api/datasets/").partition("/revision/")[0]
            self._send(json.dumps(self.host.listing(repository)).encode(), None)
            return
        parts = path.removeprefix("/datasets/").strip("/").replace("/resolve/", "/").split("/")
        name = "/".join([*parts[:2], *parts[3:]])
        if path.startswith("/web/"):
            name, parts[2] = path.lstrip("/"), self.host.head
        if name not in self.host.files or parts[2] != self.host.head:
            self.send_error(404)
            return
        content = self.host.files[name]
        self._send(content[::-1] if name in self.host.wrong else content, wanted)

    def _send(self, content: bytes, wanted: str | None) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if content.startswith(b"<html>"):
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        end = start + self.host.cut.pop(0) if self.host.cut and "/api/" not in self.path else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *words: Any) -> None:
        """Tests need no log."""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    """The stand-in, with an empty user cache."""
    found = Host()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"host": found}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(fetch, "GITHUB", address)
    monkeypatch.setattr(fetch, "WEB", address)
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


PLUGIN = '''
"""Diaries, short and long."""

from perbench.api import Family, Remote, Skip


class Diaries(Family):
    remotes = (Remote("github", "o/n", {FILES}, COMMIT),)
    tables = ("short/train", "short/test", "long/train")

    def rows(self, table, raw):
        for row in raw.records(table, shape={"user": str, "text": str}):
            if not row["text"]:
                yield Skip("empty text")
            else:
                if "old" in row:
                    raw.note("old rows")
                yield {"user": row["user"], "text": row["text"]}
'''
TABLES = {"short/train": 8, "short/test": 4, "long/train": 12}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with the family `diaries`, whose files lie in the folder."""
    folder = tmp_path / "raw"
    for name, count in TABLES.items():
        rows = [{"user": f"u{number}", "text": f"{name} {number}"} for number in range(count)]
        write(folder / f"{name}.jsonl", rows)
    checksums = {
        f"{name}.jsonl": f"git:{git_blob((folder / f'{name}.jsonl').read_bytes())}" for name in TABLES
    }
    plugin = tmp_path / "root" / "tasks" / "families" / "diaries.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN.replace("{FILES}", repr(checksums)).replace("COMMIT", repr(COMMIT)))
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / "root"))
    return folder


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
