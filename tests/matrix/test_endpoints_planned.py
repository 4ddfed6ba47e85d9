"""What is said of endpoints before anything runs: what is absent, what it will cost, what they cannot do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example
from perbench.cli import main
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task
from tests.lm_eval.conftest import write_tasks
from tests.matrix.chat import (
    PEOPLE,
    TURNS,
    Chat,
    the_record,
)
from tests.matrix.conftest import Root, write_rows


def test_a_missing_key_is_told_before_anything_runs(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TEST_KEY")
    told = "set the environment variable TEST_KEY to the key"
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run"]) == 2
    assert told in capsys.readouterr().err
    assert main(["validate", str(talk.path / "leaderboard/matrices/small.yaml")]) == 0
    assert told in capsys.readouterr().err
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out" / "cells").exists()
    assert chat.requests == []


def test_a_missing_package_is_told_before_anything_runs(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    persona = {"retrieve": "bm25", "k": 2}
    matrix = talk.matrix(
        models=["tiny", "far"],
        trainers=["ce"],
        targets=["tiny/talk", {"task": "tiny/writing", "persona": persona}],
        identifiers=[],
    )
    monkeypatch.setitem(sys.modules, "rank_bm25", None)
    command = "pip install 'perbench[bm25]'"
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    for checked, code in (([*words, "--dry-run"], 2), (["validate", str(matrix)], 0)):
        assert main(checked) == code
        told = capsys.readouterr().err
        assert told.count(command) == 1
    assert main([*words, "--dry-run"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("missing: ") for line in told) == 1
    assert told[-1].startswith("not runnable: 1 ")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.count(command) == 1
    assert not (tmp_path / "out" / "cells").exists()


def test_a_dry_run_says_what_it_will_cost(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"]
    # By hand, characters / 4 rounded up: profile 1, personality 1, simulator's texts 5, judge's 9. Turn k has
    # 10 (k - 1) tokens before it; the simulator reads 7 + those, the model 5 + those, the judge 11 + 10.
    read = PEOPLE * sum((7 + 10 * k) + (5 + 10 * k) + 21 for k in range(TURNS))
    assert (found["requests"], found["input"], found["output"]) == (60, read, 60 * 5)
    assert found["cost"] == pytest.approx((read * 2 + 300 * 10) / 1e6)
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"endpoint far: about 60 requests, {read:,} tokens read, at most 300 written; " in told
    assert f"at most about {found['cost']:.4f} EUR" in told
    one = ["eval", "--model", "far", "--target", "tiny/talk", "--out", str(tmp_path / "one"), "--dry-run"]
    assert main([*one, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"] == found
    assert not (tmp_path / "one").exists()
    assert chat.requests == []


def test_a_dry_run_of_an_identifier_says_what_it_will_cost(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"user": "u", "ask": "why?", "answer": "so it is", "past": [{"text": "a cook"}], "gold": ["so"]}
    ] * 3
    write_rows(talk.path / "data" / "qa" / "test.jsonl", rows)
    words = ["identify", "--task", "tiny/qa", "--identifier", "llm_judge", "--model", "far", "--dry-run"]
    assert main([*words, "--out", str(tmp_path / "out"), "--param", "max_new_tokens=9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"]
    assert (found["requests"], found["input"], found["output"]) == (3, 3 * (2 + 1 + 2), 3 * 9)
    assert chat.requests == []


def test_what_cannot_be_counted_is_in_no_sum(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.matrix(
        targets=["tiny/talk", "longlamp/pag"], models=["far"], trainers=[], sources=[], identifiers=[]
    )
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--set", "baseline=null", "--set", "training={}", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    counts = {cell["labels"]["target"]: cell["tokens"] for cell in found["cells"]}
    assert counts == {"tiny/talk": found["total"]["tokens"], "longlamp/pag": None}
    assert found["total"]["uncounted"] == 1
    assert found["total"]["endpoints"]["far"]["requests"] == 60
    assert main([*words, "--set", "baseline=null", "--set", "training={}"]) == 2
    told = capsys.readouterr()
    assert "unknown" in next(line for line in told.out.splitlines() if "longlamp/pag" in line)
    lacking = next(line for line in told.out.splitlines() if line.startswith("not in these sums: "))
    assert "1 cell" in lacking
    assert "unavailable" in lacking
    assert "endpoint" in lacking
    assert "missing: data of longlamp/pag (test): " in told.err


def test_a_check_may_write_more_than_its_word() -> None:
    example = Example("e", "u", "where?", "", (), {"preference": "I hate boats."})
    parts = owner_of(load_task("prefeval/explicit").spec).asks([example])
    assert (parts["judge"].requests, parts["judge"].output) == (4, 4 * 8)
    assert (parts["subject"].requests, parts["subject"].output) == (2, 2 * 300)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainers": ["ce"], "sources": ["tiny/writing"]}, "far: an endpoint cannot be trained"),
        (
            {"models": ["tiny", "far"], "trainers": ["ce"], "sources": ["tiny/writing"], "base_rows": False},
            "set base_rows: true, or remove it",
        ),
        (
            {"tasks": {"tiny/talk": {"dialogue.judge.pmi": True}}},
            "task tiny/talk: dialogue.judge: far is an endpoint, which gives no log-probs; "
            "set dialogue.judge.pmi: false, or",
        ),
        (
            {"tasks": {"tiny/talk": {"dialogue.second_judge": {"model": "far", "method": "likeliest"}}}},
            "set dialogue.second_judge.method: reply",
        ),
        (
            {
                "targets": ["prefeval/explicit"],
                "tasks": {"prefeval/explicit": {"preference.judge.method": "likeliest"}},
            },
            "which gives no log-probs; set preference.judge.method",
        ),
        (
            {"targets": [{"task": "tiny/writing", "decoding.method": "context_steering"}]},
            "task tiny/writing: decoding.method context_steering needs logits, but far is an endpoint",
        ),
        (
            {"targets": [{"task": "tiny/writing", "persona_swap": {"others": 1}}]},
            "task tiny/writing: persona_swap.scorer: far is an endpoint, which gives no log-probs",
        ),
        (
            {
                "models": ["tiny"],
                "targets": [{"task": "tiny/writing", "persona_swap": {"others": 1, "scorer": "far"}}],
            },
            "persona_swap.scorer: far is an endpoint, which gives no log-probs of given texts",
        ),
        (
            {"targets": ["lm_eval:tiny_choice"]},
            "lm_eval:tiny_choice: lm-evaluation-harness needs tokens and log-probs, but far is an endpoint",
        ),
        (
            {"targets": [{"task": "tiny/writing", "persona": {"retrieve": "dense", "encoder": "far"}}]},
            "task tiny/writing: persona.encoder: far is an endpoint",
        ),
        (
            {"targets": ["identification/persona_qa"], "identifiers": ["percontrast"], "base_rows": False},
            "identifier percontrast reads tokens, but far is an endpoint",
        ),
    ],
)
def test_what_endpoints_cannot_do_is_refused(
    talk: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    write_tasks(talk.path, [])
    plain = {"models": ["far"], "trainers": [], "sources": [], "targets": ["tiny/talk"]}
    talk.matrix(**{**plain, "identifiers": [], "baseline": None, "training": {}, **changes})
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_an_endpoint_summarises_histories(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"model": "far", "block": 2, "max_new_tokens": 5}
    row = {"task": "tiny/writing", "persona": {"summarise": "recurrent", "summary": summary}}
    bare: dict[str, Any] = {"trainers": [], "sources": [], "identifiers": [], "baseline": None}
    talk.matrix(models=["far"], targets=[row], **bare)
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--json"]) == 0
    foreseen = json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"]
    assert foreseen["requests"] == 5 * (2 + 1)  # two blocks of three items, and an answer
    assert main(words) == 0
    record = the_record(tmp_path / "out")
    assert record.counts["summaries"] == record.counts["persona_items_kept"] == 5
    assert record.endpoints["far"].requests == len(chat.requests) == 15
    first, last = (chat.requests[place][2]["messages"] for place in (0, -1))
    assert first[0]["content"].startswith("Here are texts that one person wrote:")
    assert "reply to This describes a person:" in last[0]["content"]
