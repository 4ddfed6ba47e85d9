"""Serves the review page, only to a browser on this machine.

The address holds a secret, against other users of the machine; `Host` and `Origin` are checked, against other
web pages and DNS rebinding.
"""

from __future__ import annotations

import json
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from perbench.annotate.review.state import Review
from perbench.errors import PerbenchError
from perbench.site.templates import render_page
from perbench.text.marks import KINDS

LARGEST = 1 << 20
"""Maximum bytes of a request."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1; `url` is the page's address, and `port` 0 takes a free port."""

    daemon_threads = True

    def __init__(self, review: Review, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _ReviewHandler)
        except (OSError, OverflowError) as error:
            raise PerbenchError(f"--port {port}: {error}; omit it to use a free one") from None
        self.review = review
        self.secret = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.secret}/"


def serve(review: Review, port: int) -> None:
    """Serve until interrupted; the address is printed to stdout."""
    with Server(review, port) as server:
        print(f"Open {server.url}", flush=True)
        print("Every decision is saved at once; press Ctrl-C to stop.", file=sys.stderr)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            counts = review.counts()
            totals = ", ".join(f"{counts[name]} {name}" for name in ("accepted", "rejected", "open"))
            print(f"\n{totals}; accepted rows: {review.out}", file=sys.stderr)


def page(review: Review) -> str:
    return render_page(
        "review.html",
        css=["app.css", "review.css"],
        script="review.js",
        filters={},
        items=[item.shown() for item in review.items.values()],
        kinds=KINDS,
        out=review.out.name,
        both=any(item.layers is not None for item in review.items.values()),
    )


class _ReviewHandler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "perbench"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        if not self._admitted():
            return
        if self._place() == "":
            self._send(HTTPStatus.OK, page(self.server.review), "text/html; charset=utf-8")
        elif self._place() == "export":
            name = self.server.review.out.name.encode("ascii", "replace").decode().replace('"', "_")
            disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
            content = self.server.review.exported()
            self._send(HTTPStatus.OK, content, "application/jsonl; charset=utf-8", disposition)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._admitted():
            return
        origin = self.headers.get("Origin", "")
        if origin.removeprefix("http://") != self.headers["Host"] or not origin:
            self._refuse(HTTPStatus.FORBIDDEN)
        elif self._place() != "save":
            self._refuse(HTTPStatus.NOT_FOUND)
        elif self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        elif not (length := self.headers.get("Content-Length", "")).isdecimal() or int(length) > LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._save(self.rfile.read(int(length)))

    def _save(self, body: bytes) -> None:
        try:
            asked = json.loads(body)
            answer = self.server.review.decide(asked["id"], asked["decision"], asked["gold"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._send(HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)}), "application/json")
        except OSError as error:  # a full disk: the page shows the error and keeps the decision
            fault = json.dumps({"error": f"{self.server.review.out}: {error.strerror}"})
            self._send(HTTPStatus.INSUFFICIENT_STORAGE, fault, "application/json")
        else:
            self._send(HTTPStatus.OK, json.dumps(answer), "application/json")

    def _admitted(self) -> bool:
        secret = self.path.split("/")[1] if self.path.count("/") == 2 else ""
        known = secrets.compare_digest(secret.encode(), self.server.secret.encode())
        if self.headers.get("Host") not in self.server.hosts or not known:
            self._refuse(HTTPStatus.FORBIDDEN)
            return False
        return True

    def _place(self) -> str:
        return self.path.rpartition("/")[2].partition("?")[0]

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # else the unread body would be parsed as the next request
        self._send(status, status.phrase, "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, text: str, kind: str, more: dict[str, str] | None = None) -> None:
        content = text.encode("utf-8", "surrogatepass")
        self.send_response(status)
        sent = {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS, **(more or {})}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Disabled, because the address holds the secret."""
