"""The review page: who may read and decide, and a person's way through it in a real browser."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from perbench.annotate.review.server import LARGEST, Server, page
from perbench.annotate.review.state import Review
from perbench.cli import main
from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GOOD = {"id": "c", "decision": "rejected", "gold": []}


@pytest.fixture
def server(file: Path, tmp_path: Path) -> Iterator[Server]:
    with Review.open(file, tmp_path / "out.jsonl") as review, Server(review) as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: Server, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    own = f"127.0.0.1:{server.server_port}"
    sent = {"Host": own, "Origin": f"http://{own}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {name: value for name, value in sent.items() if value})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, content, dict(reply.getheaders())


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url.startswith(f"http://127.0.0.1:{server.server_port}/")


def test_the_page_needs_the_secret_and_the_right_host(server: Server) -> None:
    place = f"/{server.secret}/"
    status, content, headers = ask(server, "GET", place)
    assert status == 200
    assert b"Review of gold spans" in content
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert ask(server, "GET", "/")[0] == 403
    assert ask(server, "GET", f"/{server.secret[:-1]}/")[0] == 403
    assert ask(server, "GET", place, Host="evil.example")[0] == 403
    assert ask(server, "GET", place, Host=f"evil.example:{server.server_port}")[0] == 403
    assert ask(server, "GET", f"/{server.secret}/../etc/passwd")[0] == 403
    assert ask(server, "GET", f"/{server.secret}/other")[0] == 404


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Origin": "http://evil.example"}, GOOD, 403),
        ({"Origin": "null"}, GOOD, 403),
        ({"Origin": ""}, GOOD, 403),
        ({"Host": "evil.example"}, GOOD, 403),
        ({"Content_Type": "text/plain"}, GOOD, 415),
        ({"Content_Length": str(LARGEST + 1)}, GOOD, 413),
        ({"Content_Length": "-1"}, GOOD, 413),
        ({}, {**GOOD, "id": "x"}, 400),
        ({}, {"id": "c"}, 400),
        ({}, [], 400),
        ({}, {**GOOD, "id": ["c"]}, 400),
        ({}, GOOD, 200),
    ],
)
def test_only_the_page_decides(headers: dict[str, str], body: Any, status: int, server: Server) -> None:
    found, content, _ = ask(server, "POST", f"/{server.secret}/save", json.dumps(body).encode(), **headers)
    assert found == status
    assert server.review.counts()["rejected"] == (status == 200)
    if status == 200:
        assert json.loads(content) == {"decision": "rejected", "faults": []}


def test_nothing_of_the_data_is_markup(server: Server) -> None:
    html = page(server.review)
    assert html.count("<script") == 1
    assert "<img" not in html
    assert "<b>Nothing" not in html


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(PerbenchError, match=f"--port {server.server_port}: .*omit it"):
        Server(server.review, server.server_port)
    with pytest.raises(PerbenchError, match="--port 70000"):
        Server(server.review, 70000)


def test_from_the_command_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Server) -> None:
        with socket.create_connection(("127.0.0.1", self.server_port)):
            raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", interrupted)
    assert main(["data", "review", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Open http://127.0.0.1:")
    assert "0 accepted, 0 rejected, 3 open" in said.err
    assert (tmp_path / "qa.reviewed.jsonl").read_bytes() == b""
    assert main(["data", "review", str(tmp_path / "none.jsonl")]) == 2


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def opened(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context()
    found = context.new_page()
    troubles: list[str] = []
    found.on("pageerror", lambda error: troubles.append(str(error)))
    found.on("console", lambda message: "507" in message.text or troubles.append(message.text))
    found.goto(server.url)
    yield found
    context.close()
    assert troubles == []


def test_a_review_by_keyboard(opened: Page, server: Server) -> None:
    press = opened.keyboard.press
    assert "Answer 1 of 3: 0 accepted, 0 rejected, 3 open." in opened.locator("#progress").inner_text()
    press("a")  # neither kind nor sentence yet
    opened.get_by_text("gold[0]: unknown kind None").wait_for()
    press("3")
    press("Shift+2")
    opened.get_by_role("button", name="I like to hunt.", pressed=True).wait_for()
    for _ in range(4):  # Got, a, deer, last
        press("ArrowRight")
    press("Shift+ArrowRight")
    assert opened.locator("#selected").inner_text() == "Selected: last season"
    press("2")
    assert opened.locator("#answer mark").all_inner_texts() == ["deer", "last season"]
    press("u")
    assert opened.locator("#answer mark").all_inner_texts() == ["deer"]
    press("a")
    opened.get_by_text("Answer 2 of 3: 1 accepted").wait_for()
    press("r")
    opened.get_by_text("Answer 3 of 3: 1 accepted, 1 rejected").wait_for()
    press("k")
    opened.get_by_text("Answer 2 of 3").wait_for()
    press("j")
    with opened.expect_download() as exported:
        press("e")
    assert exported.value.suggested_filename == "out.jsonl"
    rows = [json.loads(line) for line in exported.value.path().read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["a"]
    assert rows[0]["review"] == "accepted"
    assert rows[0]["gold"] == [{"start": 8, "end": 12, "text": "deer", "kind": "inference", "sentence": 1}]
    assert server.review.out.read_bytes() == exported.value.path().read_bytes()


def test_a_review_by_mouse(opened: Page, server: Server) -> None:
    opened.get_by_role("button", name="Next").click()
    opened.get_by_role("button", name="Remove stitch").click()
    word = opened.locator("#answer")
    box = opened.evaluate(
        """() => { const r = document.createRange(), t = document.getElementById("answer").firstChild;
        r.setStart(t, 17); r.setEnd(t, 24); const b = r.getBoundingClientRect();
        return [b.x, b.y, b.width, b.height] }"""
    )
    x, y, width, height = box
    opened.mouse.move(x + 1, y + height / 2)
    opened.mouse.down()
    opened.mouse.move(x + width - 1, y + height / 2, steps=5)
    opened.mouse.up()
    opened.keyboard.press("1")
    assert word.locator("mark").all_inner_texts() == ["clothes"]
    opened.get_by_label("Sentence").select_option("2 I sew.")
    opened.get_by_label("Kind").focus()
    opened.get_by_label("Kind").select_option("paraphrase")
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')") == "Kind", "the focus stays"
    opened.get_by_role("button", name="Accept").click()
    opened.get_by_text("Answer 3 of 3: 1 accepted").wait_for()
    (row,) = [json.loads(line) for line in server.review.out.read_text(encoding="utf-8").splitlines()]
    assert row["review"] == "edited"
    assert row["gold"] == [{"start": 17, "end": 24, "text": "clothes", "kind": "paraphrase", "sentence": 1}]


def test_it_fits_a_narrow_window(opened: Page) -> None:
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


def test_data_are_shown_as_they_are(opened: Page) -> None:
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    assert opened.locator("#answer").inner_text() == "<b>Nothing</b> to see in this one."
    assert opened.locator("#question").inner_text() == "<img src=x onerror=alert(1)>"
    assert opened.get_by_role("button", name="<script>alert(1)</script>").count() == 1


def test_what_could_not_be_saved_is_told_and_sent_again(
    opened: Page, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(server.review, "decide", full)
        opened.keyboard.press("3")
        opened.get_by_text("No space left").wait_for()
        assert opened.locator("#trouble").inner_text().startswith("Not saved")
    assert server.review.items["a"].gold[0]["kind"] is None
    opened.keyboard.press("j")
    opened.keyboard.press("r")  # of another answer: what waits goes with it
    opened.get_by_text("1 rejected").wait_for()
    assert server.review.items["a"].gold[0]["kind"] == "inference"
    assert opened.locator("#trouble").inner_text() == ""
