"""Evaluations with endpoints, against a server on the loopback interface that fails on demand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perbench.cli import main
from perbench.disk.digests import canonical_digest
from perbench.store import RunDir
from tests.engines.standin import Reply, Server, completion, fault
from tests.matrix.chat import (
    KEY,
    PEOPLE,
    PER_ANSWER,
    TURNS,
    Chat,
    asked,
    far_task,
    the_record,
)
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs

# ---------------------------------------------------------------- faults and kills


def test_ten_turns_through_every_fault(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def restarted() -> Reply:
        Server.close(chat)  # the server goes; this request's line stays open and breaks
        chat.restart()
        return Reply(200, completion("lost"), cut=True)

    def silence() -> Reply:
        chat.hang.wait(20)
        return fault(500)

    chat.faults = {
        2: lambda: fault(429, Retry_After="0"),
        3: lambda: fault(500),
        9: lambda: Reply(200, b'{"choices": [{"mess'),
        14: silence,
        20: lambda: Reply(200, completion("x"), cut=True),
        31: restarted,
        44: lambda: fault(503),
        60: lambda: Reply(200, {"error": {"code": 503, "message": "busy"}}),
    }
    broken = len(chat.faults)
    chat.ratings = {("p0", "m3"): ["no number"] * 3, ("p1", "m7"): ["4 or 5", "4"]}
    out = tmp_path / "out"
    assert main(["run", "--matrix", "small", "--out", str(out)]) == 0
    record = the_record(out)
    requests = 3 * TURNS * PEOPLE + 2 + 1  # everything once; three times no number, once not
    use = record.endpoints["far"]
    assert (use.answers, chat.good) == (requests, requests)
    assert use.requests == len(chat.requests) == requests + broken
    assert (use.reused, use.unmetered) == (0, 0)
    assert (use.input_tokens, use.output_tokens) == (7 * requests, 3 * requests)
    assert use.cost == pytest.approx(requests * PER_ANSWER)
    assert (record.counts["samples"], record.counts["missing_scores"]) == (TURNS * PEOPLE, 1)
    assert record.counts["judge_retries"] == 3
    rating = record.metrics["rating"]
    assert [turn.value for turn in rating.by_turn] == [1 + k // 3 if k != 7 else 3.5 for k in range(1, 11)]
    assert (rating.n, rating.missing) == (5 * PEOPLE, 0)
    assert record.metrics["ir"].value == pytest.approx((169.5 - 55 * 2.55) / 82.5)
    assert "endpoint far: 71 requests, 63 answers paid for, 0 from the cache" in capsys.readouterr().err
    for file in [*out.rglob("*"), *(tmp_path / "cache").rglob("*")]:
        held = file.read_bytes() if file.is_file() else b""
        assert KEY.encode() not in held
        assert chat.address.encode() not in held

    # Somewhere else the same costs nothing, unless the cache is left out.
    chat.requests.clear()
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "again")]) == 0
    assert chat.requests == []
    again = the_record(tmp_path / "again")
    assert (again.endpoints["far"].reused, again.endpoints["far"].cost) == (requests, 0.0)
    assert again.metrics == record.metrics


@pytest.mark.parametrize(
    ("kill", "options", "twice"),
    [
        (("torn", 7), [], 0),  # while turn 7 is written
        (("chat", 20), [], 0),  # once the model's replies of turn 7 are there
        (("chat", 20), ["--no-cache"], 2 * PEOPLE),
    ],
)
def test_a_dialogue_cut_off_at_turn_7_goes_on_at_turn_7(
    runs: Runs,
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    kill: tuple[str, int],
    options: list[str],
    twice: int,
) -> None:
    out = tmp_path / "out"
    words = ["run", "--matrix", "small", "--out", str(out), *options]
    env = {"TEST_KEY": KEY, "PERBENCH_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    status, _, errors = runs(talk.path, *words, kill=kill, env=env)
    assert status == -9, errors
    assert max(chat.turns()) == 7
    before = len(chat.requests)
    status, _, errors = runs(talk.path, *words, env=env)
    assert status == 0, errors
    assert min(len(body["messages"]) for _, _, body in chat.requests[before:] if "play" in str(body)) >= 14
    assert sum(count - 1 for count in asked(chat).values()) == twice
    assert len(asked(chat)) == 3 * TURNS * PEOPLE
    record = the_record(out)
    use = record.endpoints["far"]
    assert use.requests == use.answers == chat.good == 3 * TURNS * PEOPLE + twice
    assert use.cost == pytest.approx(use.answers * PER_ANSWER)
    (cell,) = (out / "cells").iterdir()
    ids = [json.loads(line)["id"] for line in (cell / "samples.jsonl").read_text().splitlines()]
    assert len(ids) == len(set(ids)) == TURNS * PEOPLE


def test_a_refusal_fails_the_cell_and_keeps_what_was_paid(talk: Root, chat: Chat, tmp_path: Path) -> None:
    chat.faults = {40: lambda: fault(400, "no such thing")}
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    failed = the_record(tmp_path / "out")
    assert failed.error is not None
    assert "endpoint model 'm': status 400: no such thing" in failed.error.message
    assert failed.endpoints["far"].answers == chat.good
    assert main(words) == 0
    assert the_record(tmp_path / "out").endpoints["far"].answers == chat.good == 3 * TURNS * PEOPLE


def test_replies_without_an_answer_are_missing_and_never_asked_for_again(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Five questions: one refused, one filtered under an error status. At first too many for the task."""
    monkeypatch.setenv("OPENAI_BASE_URL", chat.address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    chat.faults = {
        2: lambda: Reply(200, completion(None, "content_filter")),
        4: lambda: fault(400, "no", "content_filter"),
    }
    out = tmp_path / "out"
    words = ["eval", "--model", "openai/gpt-4o", "--target", "tiny/writing", "--out", str(out), "--json"]
    for _ in range(2):
        assert main(words) == 1
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        assert "2 of 5 answers are missing (2 filtered)" in cell["error"]
        assert len(chat.requests) == 5
    assert main([*words, "--set", "tasks.tiny/writing.max_missing=0.4"]) == 0
    (scored,) = json.loads(capsys.readouterr().out)["cells"]
    assert (scored["identity"], scored["error"]) == (cell["identity"], None)
    assert (scored["n"], scored["missing"], scored["why"]) == (3, 2, {"filtered": 2})
    assert len(chat.requests) == 5
    record = the_record(out)
    assert record.counts["missing_filtered"] == 2
    assert record.endpoints["openai/gpt-4o"].answers == 4  # the error was not paid
    samples = RunDir(out).cell("eval", record.identity).samples()
    assert sum(sample["finish_reason"] == "content_filter" for sample in samples) == 2


# ---------------------------------------------------------------- openai/<model> rows, two judges


def test_a_row_of_openai_beside_a_trained_one(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", chat.address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    talk.matrix(models=["tiny", "openai/gpt-4o"], trainers=["ce"], targets=["tiny/writing"], identifiers=[])
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(cell["kind"], cell["labels"]["model"], cell["labels"]["trainer"]) for cell in cells] == [
        ("eval", "tiny", None),
        ("train", "tiny", "ce"),
        ("eval", "tiny", "ce"),
        ("eval", "openai/gpt-4o", None),
    ]
    assert cells[3]["endpoints"]["openai/gpt-4o"]["cost"] is None


def test_openai_answers_the_same_tasks(
    talk: Root, chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", chat.address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    out = tmp_path / "out"
    assert main(["eval", "--model", "openai/gpt-4o", "--target", "tiny/writing", "--out", str(out)]) == 0
    record = the_record(out)
    assert (record.labels.model, record.inputs["engine"]) == ("openai/gpt-4o", "openai")
    assert record.inputs["model"].pop("address") == canonical_digest(chat.address)
    assert record.inputs["model"] == {"endpoint": "gpt-4o", "dtype": "auto"}
    assert record.notes == ["openai/gpt-4o: the server calls it some-judge"]
    assert record.counts["samples"] == record.endpoints["openai/gpt-4o"].answers == len(chat.requests) == 5
    assert record.counts["persona_items_kept"] == 15
    assert record.metrics["length"].value is not None
    _, key, body = chat.requests[0]
    assert (key, body["model"], body["max_tokens"], body["temperature"]) == (
        f"Bearer {KEY}",
        "gpt-4o",
        6,
        0.7,
    )
    assert body["messages"][0]["content"].startswith("Persona:\nOnce ")
    assert RunDir(out).cell("eval", record.identity).samples()[0]["response"].startswith("reply to What do")


def test_two_judges_and_how_far_they_agree(talk: Root, chat: Chat, tmp_path: Path) -> None:
    far_task(talk, second_judge={"model": "far"})
    chat.ratings = {("p0", "m1"): ["1", "3"]}  # else both rate alike
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "out")]) == 0
    record = the_record(tmp_path / "out")
    kappa, weighted = record.metrics["judge_kappa"], record.metrics["judge_weighted_kappa"]
    assert (kappa.n, kappa.missing, record.counts["missing_second_scores"]) == (TURNS * PEOPLE, 0, 0)
    # The first judge gave 4, 6, 6 and 4 times 1 to 4, the second 3, 6, 7 and 4; one pair is two apart.
    assert kappa.value == pytest.approx((19 * 20 - 106) / (20 * 20 - 106))
    assert weighted.value == pytest.approx(1 - 20 * 4 / 800)
    assert len(chat.requests) == 4 * TURNS * PEOPLE
