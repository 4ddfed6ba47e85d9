"""Serves a built site to browsers on this machine, for a look: `perbench leaderboard serve`."""

from __future__ import annotations

import mimetypes
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from perbench.errors import PerbenchError
from perbench.site.render import CSP
from perbench.site.templates import MARK

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CSP,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".json": "application/json"}


def is_site(folder: Path) -> bool:
    """Whether `perbench leaderboard build` wrote the folder."""
    page = folder / "index.html"
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return MARK.encode() in file.read(2000)


class SiteServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1; `port` 0 takes a free one. Only requests by this machine's names are answered,
    against DNS rebinding; only files of the folder are sent.

    Raises:
        PerbenchError: the port is taken or impossible.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _SiteHandler)
        except (OSError, OverflowError) as error:
            raise PerbenchError(f"--port {port}: {error}; omit it to use a free one") from None
        self.folder = folder.resolve()
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _SiteHandler(BaseHTTPRequestHandler):
    server: SiteServer
    protocol_version = "HTTP/1.1"
    server_version = "perbench"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._send(HTTPStatus.FORBIDDEN, HTTPStatus.FORBIDDEN.phrase.encode(), "text/plain")
            return
        path = self._file()
        if path is None:
            self._send(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase.encode(), "text/plain")
            return
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._send(HTTPStatus.OK, path.read_bytes(), kind)

    do_HEAD = do_GET

    def _file(self) -> Path | None:
        """The requested file, links resolved; None if there is none in the folder."""
        try:
            asked = unquote(urlsplit(self.path).path, errors="strict").lstrip("/") or "index.html"
            path = (self.server.folder / asked).resolve()
            return path if path.is_relative_to(self.server.folder) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # not UTF-8, NUL, too long, a loop of links
            return None

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        text = kind.startswith("text/") or kind == "application/json"
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not reported."""
