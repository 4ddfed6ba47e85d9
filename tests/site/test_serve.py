"""`perbench leaderboard serve`: a folder, nothing outside it, to this machine only."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from perbench import cli
from perbench.errors import PerbenchError
from perbench.site.render import CSP
from perbench.site.serve import SiteServer, is_site

if TYPE_CHECKING:
    from tests.site.conftest import Bench


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SiteServer]:
    site = tmp_path / "site"
    (site / "cells").mkdir(parents=True)
    (site / "index.html").write_text("<p>first</p>")
    (site / "site.js").write_text("1")
    (site / "cells" / "a b.html").write_text("<p>cell</p>")
    (tmp_path / "secret.html").write_text("secret")
    (site / "out.html").symlink_to(tmp_path / "secret.html")
    (site / "up").symlink_to(tmp_path)
    (site / "loop").symlink_to(site / "loop")
    with SiteServer(site) as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: SiteServer, path: str, method: str = "GET", host: str = ""
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, content, dict(reply.getheaders())


def test_pages_come_with_the_policy_of_the_pages(server: SiteServer) -> None:
    status, content, headers = ask(server, "/")
    assert (status, content) == (200, b"<p>first</p>")
    assert headers["Content-Security-Policy"] == CSP
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(server, "/cells/a%20b.html?x#y")[1] == b"<p>cell</p>"
    assert ask(server, "/site.js")[2]["Content-Type"] == "text/javascript; charset=utf-8"
    assert ask(server, "/", "HEAD")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/cells/..%2f..%2fsecret.html",
        "//etc/passwd",
        "/out.html",
        "/up/secret.html",
        "/loop",
        "/cells",
        "/cells/",
        "/a%00b",
        "/%ff",
        "/" + "x" * 5000,
        "/nothing.html",
        "http://127.0.0.1/../secret.html",
    ],
)
def test_nothing_outside_and_no_listing(server: SiteServer, path: str) -> None:
    status, content, headers = ask(server, path)
    assert (status, content) == (404, b"Not Found")
    assert headers["Content-Security-Policy"] == CSP


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80"])
def test_other_names_of_this_machine_are_refused(server: SiteServer, host: str) -> None:
    assert ask(server, "/", host=host)[0] == 403


def test_only_reading_and_only_from_here(server: SiteServer) -> None:
    assert ask(server, "/", "POST")[0] == 501
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_is_an_error(server: SiteServer) -> None:
    for port in (server.server_port, 70000):
        with pytest.raises(PerbenchError, match=f"--port {port}"):
            SiteServer(server.folder, port)


def test_a_built_site_is_known_by_its_mark(bench: Bench, tmp_path: Path) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    assert cli.main(["leaderboard", "build", str(bench.path), "--out", str(tmp_path / "site")]) == 0
    assert is_site(tmp_path / "site")
    assert not is_site(bench.path)


@pytest.mark.parametrize("built", [True, False])
def test_the_command_serves_until_it_is_interrupted(bench: Bench, tmp_path: Path, built: bool) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    shown = bench.path
    if built:
        shown = tmp_path / "site"
        assert cli.main(["leaderboard", "build", str(bench.path), "--out", str(shown)]) == 0
    words = [sys.executable, "-m", "perbench", "leaderboard", "serve", str(shown)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        (url,) = [word for word in running.stdout.readline().split() if word.startswith("http")]
        with urllib.request.urlopen(url) as reply:
            assert b"<!doctype html>" in reply.read().lower()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert not list(tmp_path.glob("perbench-site-*"))
