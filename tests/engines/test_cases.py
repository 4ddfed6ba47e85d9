"""Servers from public reports, each through a whole evaluation: what is recorded, paid and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from perbench.cli import main
from perbench.disk.files import read_journal
from perbench.store import read_records
from tests.engines.far import write_root
from tests.engines.standin import Reply, Server, completion, fault, yes


def refuse(name: str, status: int, value: Any = None) -> Any:
    """A server that takes no parameter of this name, or that value alone."""

    def answer(body: dict[str, Any]) -> Reply:
        refused = name in body and (value is None or body[name] != value)
        return fault(status, f"'{name}' is not accepted by this model") if refused else yes(body)

    return answer


class Case(NamedTuple):
    """`text` is the answer recorded, None where the cell fails; `said` is on stderr; `keys` its file's."""

    answer: Any
    text: str | None
    said: str = ""
    keys: dict[str, Any] = {}
    note: str = ""


def contents(content: Any) -> Any:
    return lambda body: Reply(200, completion(content))


CASES = {
    "e-list": Case(contents([{"type": "text", "text": "A bean stew"}]), "A bean stew"),
    "e-err200": Case(
        lambda body: Reply(200, {"error": {"code": 400, "message": "no such model here"}, "user_id": "u"}),
        None,
        "status 400, in a reply of status 200: no such model here",
    ),
    "e-maxtok": Case(refuse("max_tokens", 400), None, "endpoint.send_as"),
    "e-maxtok, mended": Case(
        refuse("max_tokens", 400), "yes", keys={"send_as": {"max_tokens": "max_completion_tokens"}}
    ),
    "e-temp": Case(refuse("temperature", 400, 1), None, "endpoint.send_as"),
    "e-temp, mended": Case(
        refuse("temperature", 400, 1), "yes", keys={"send_as": {"temperature": None}}, note="temperature"
    ),
    "e-seed": Case(refuse("seed", 422), None, "status 422"),
    "e-seed, mended": Case(refuse("seed", 422), "yes", keys={"send_as": {"seed": None}}, note="seed"),
    "e-both": Case(refuse("top_p", 400), "yes"),
    "e-stream": Case(
        lambda body: Reply(200, b'data: {"choices":[{"delta":{"content":"A"}}]}\n\ndata: [DONE]\n\n'),
        None,
        "a stream, which was not requested",
    ),
    "e-surrogate": Case(contents("half an emoji \ud83d here"), "half an emoji \ufffd here", note="U+FFFD"),
    "e-nul": Case(contents("nul \x00 and \u2028 sep"), "nul \x00 and \u2028 sep"),
    "e-long": Case(
        lambda body: fault(
            400, "this model's maximum context length is 40 tokens", "context_length_exceeded"
        ),
        None,
        "persona.max_tokens",
    ),
    "e-think": Case(contents("<think>\n4 dogs\n</think>\n\nA stew"), "A stew", note="began with a thought"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_reported_server(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    case = CASES[name]
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    server.answer = case.answer
    words = write_root(tmp_path / "root", server.address, ["hi"], **case.keys)
    assert main([*words, "--out", str(tmp_path / "out")]) == (0 if case.text is not None else 1)
    assert case.said in capsys.readouterr().err
    assert len(server.requests) == 1
    ((record, cell),) = read_records(tmp_path / "out")
    assert [row["response"] for row in read_journal(cell / "samples.jsonl").rows] == (
        [case.text] if case.text is not None else []
    )
    assert any(case.note in note for note in record.notes) or not case.note
    # Nothing that was paid is paid again elsewhere.
    if case.text is not None:
        assert main([*words, "--out", str(tmp_path / "again")]) == 0
        assert len(server.requests) == 1


def test_a_limit_that_names_no_wait_is_asked_again_with_a_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("perbench.engines.openai.retry.FIRST_WAIT", 0.0)
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    asked = []

    def every_second(body: dict[str, Any]) -> Reply:
        asked.append(body)
        return fault(429, "slow down", Retry_After="0") if len(asked) % 2 else yes(body)

    server.answer = every_second
    words = write_root(tmp_path / "root", server.address, ["hi", "ho"], concurrency=1)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("status 429: slow down; attempt 2 in 0.0 s") == 2


def test_a_task_may_skip_what_a_server_cannot_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    server.answer = lambda body: (
        fault(400, "maximum context length is 40 tokens") if "whale" in str(body["messages"]) else yes(body)
    )
    words = write_root(tmp_path / "root", server.address, ["hi", "a whale", "ho"])
    assert main([*words, "--out", str(tmp_path / "fails")]) == 1
    assert "on_too_long: skip" in capsys.readouterr().err
    with (tmp_path / "root" / "task.yaml").open("a") as file:
        file.write("on_too_long: skip\n")
    words = [*words, "--out", str(tmp_path / "out")]
    for _ in range(2):
        assert main(words) == 0
    assert sum("whale" in str(body["messages"]) for *_, body in server.requests) == 2
    ((record, _),) = read_records(tmp_path / "out")
    metric = record.metrics[record.headline or ""]
    assert (metric.n, metric.missing, metric.why) == (2, 1, {"too_long": 1})
    capsys.readouterr()
    assert main(["leaderboard", "show", str(tmp_path / "out")]) == 0
    assert "1 of 3 without a score: 1 too long" in capsys.readouterr().out
