"""A canary as the key, echoed in every form and place: found in no file, on no terminal, on no page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.errors import PerbenchError
from perbench.store import read_records
from tests.engines.endpoint import GREEDY, engine, user
from tests.engines.far import write_root
from tests.engines.standin import Reply, Server, completion, fault
from tests.test_masking import CANARY, ECHOES, assert_gone


@pytest.fixture
def canary(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    monkeypatch.setenv("TEST_KEY", CANARY)
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    return server


def search(folder: Path, address: str) -> None:
    """Every file below `folder`, by name and content."""
    for place, _, names in os.walk(folder):
        for name in names:
            text = (Path(place) / name).read_text("utf-8", "replace")
            assert_gone(name + text)
            assert address.removeprefix("http://") not in text, name


def test_answers_that_echo_the_key(
    canary: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def echo(body: dict[str, Any]) -> Reply:
        name = body["messages"][-1]["content"]
        said = ECHOES[name](f"{CANARY}") + f" from {canary.address}/chat"
        value = {**completion(said), "model": said, "system_fingerprint": said, "id": said}
        value["choices"][0]["logprobs"] = {said: [said]}
        value["usage"] |= {"note": said}
        return Reply(200, value, {"X-Key": CANARY, "Set-Cookie": f"key={CANARY}"})

    canary.answer = echo
    words = write_root(tmp_path / "root", canary.address, list(ECHOES))
    out = tmp_path / "out"
    assert main([*words, "--out", str(out)]) == 0
    assert main(["leaderboard", "build", str(out), "--out", str(tmp_path / "page")]) == 0
    shown = capsys.readouterr()
    (tmp_path / "root" / "leaderboard" / "models" / "far.yaml").unlink()  # holds the address, as it may
    ((record, cell),) = read_records(out)
    assert record.status == "done"
    samples = [json.loads(line) for line in (cell / "samples.jsonl").read_text().splitlines()]
    assert {sample["question"] for sample in samples} == set(ECHOES)
    assert all("[key]" in sample["response"] for sample in samples)
    assert_gone(shown.out + shown.err)
    search(tmp_path, canary.address)


PLACES = {
    "refused": lambda said: fault(401, said),
    "a page under 400": lambda said: Reply(400, f"<html><body>{said}</body></html>".encode()),
    "a page under 200": lambda said: Reply(200, f"<html><body>{said}</body></html>".encode()),
    "an error under 200": lambda said: Reply(200, {"error": {"code": said, "message": said, "type": said}}),
    "an error's names": lambda said: Reply(422, {said: [{said: said}]}),
    "no answer": lambda said: Reply(200, {"choices": [], "note": said}),
    "JSON cut short": lambda said: Reply(200, json.dumps({"error": said}).encode()[:-2]),
    "a status that may pass": lambda said: fault(503, said, said, Retry_After=json.dumps(said)),
    "a redirect": lambda said: Reply(302, said.encode(), {"Location": json.dumps(f"http://x/{said}")}),
}


@pytest.mark.parametrize("place", PLACES)
def test_failures_that_echo_the_key(canary: Server, place: str) -> None:
    lines: list[str] = []
    asked = engine(say=lines.append)
    for name, echo in ECHOES.items():
        reply = PLACES[place](echo(CANARY))
        canary.answer = lambda body, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(PerbenchError) as caught:
            asked.chat([user(name)], GREEDY, seed=0)
        assert_gone("\n".join([str(caught.value), *lines]))


def test_a_failed_run_that_echoes_the_key(
    canary: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("perbench.engines.openai.retry.FIRST_WAIT", 0.0)
    page = f"<html>{CANARY} at {canary.address} {'x' * 300} {CANARY}</html>"
    replies = [fault(429, page, Retry_After="0")]
    canary.answer = lambda body: replies.pop() if replies else Reply(403, page.encode())
    words = write_root(tmp_path / "root", canary.address, ["hi"])
    out = tmp_path / "out"
    assert main([*words, "--out", str(out)]) == 1
    assert main(["leaderboard", "build", str(out), "--out", str(tmp_path / "page")]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("; attempt 2 in ") == 1
    assert "[key]" in shown.err
    (tmp_path / "root" / "leaderboard" / "models" / "far.yaml").unlink()
    assert_gone(shown.out + shown.err)
    search(tmp_path, canary.address)
