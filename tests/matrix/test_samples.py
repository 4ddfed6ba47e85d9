"""`perbench samples`: what is stored, and what the task's data on this machine still tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.data import load_examples
from perbench.matrix.identity import EVAL_VERSION, identity_of, target_inputs
from perbench.matrix.rescore import _helpers
from perbench.specs.load import load_task
from perbench.store import CellRecord, Labels, Metric, RunDir, Scores

ROWS = [
    {
        "user": "ada",
        "question": f"Question {number}?",
        "reference": f"Text {number}.",
        "history": [f"Odd \u202e fact {number}.", "Another."],
    }
    for number in range(8)
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERBENCH_INCLUDE", "")
    assert main(["new", "task", "notes", "--into", str(tmp_path)]) == 0
    write_rows(tmp_path, ROWS)
    plugins.include(tmp_path)
    return tmp_path


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "tasks" / "notes" / "test.jsonl").write_text(text, encoding="utf-8")


def cell(root: Path, *, seed: int = 0, missing: str | None = None, **fields: Any) -> Path:
    """An evaluation whose sample n has score n / 10, all but the first and last."""
    task = load_task("notes")
    data = load_examples(task, "test")
    target = target_inputs("notes", task.spec, {})
    inputs = {"version": EVAL_VERSION, "target": target, "data": data.digest, "seed": seed}
    labels = Labels(model="tiny", target="notes", seed=seed)
    run = RunDir(root / "run")
    folder = run.cell("eval", identity_of(inputs))
    folder.begin()
    samples = [
        {
            "id": example.id,
            "user": example.user,
            "question": example.question,
            "reference": example.reference,
            "response": f"Answer {place}\x1b[31m",
            "finish_reason": "stop",
            "persona_kept": 1,
            **({"missing": missing} if missing and place == 0 else {}),
        }
        for place, example in enumerate(data.examples)
    ]
    folder.append(samples)
    values = [place / 10 if 0 < place < 7 else None for place in range(len(samples))]
    ids = [sample["id"] for sample in samples]
    folder.write_scores(Scores(ids=ids, clusters=["ada"] * len(ids), scores={"rougeL": values}))
    folder.finish(record(folder.identity, inputs, "rougeL", labels, **fields))
    return folder.path


def record(identity: str, inputs: dict[str, Any], headline: str, labels: Labels, **fields: Any) -> CellRecord:
    return CellRecord(
        kind="eval",
        identity=identity,
        inputs=inputs,
        status="done",
        labels=labels,
        headline=headline,
        metrics={headline: Metric(value=0.35, n=6, missing=2, signature=headline)},
        seconds=1.0,
        started="2026-01-01T10:00:00+00:00",
        finished="2026-01-01T10:00:12+00:00",
        environment={},
        command="perbench eval",
        **fields,
    )


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    assert main(["samples", *map(str, words), "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_sample_with_what_it_was_asked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cell(root, missing="refused")
    capsys.readouterr()
    first, second, *_ = shown(capsys, folder)
    number = second["reference"][5]
    assert second["persona"] == [
        f"- Odd \u202e fact {number}."
    ]  # the first of two, as the task leads with it
    assert second["prompt"] == [
        ["system", "What the user wrote before:\n⟨persona⟩"],
        ["user", f"Question {number}?"],
    ]
    assert (second["reference"], second["scores"]) == (f"Text {number}.", {"rougeL": 0.1})
    assert second["notes"] == []
    assert (first["missing"], first["scores"]) == ("refused", {"rougeL": None})


def test_the_worst_come_first_and_those_without_a_score_not_at_all(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cell(root)
    capsys.readouterr()
    found = shown(capsys, folder.parents[1], "notes", "--worst", "3")
    assert [one["scores"]["rougeL"] for one in found] == [0.1, 0.2, 0.3]
    assert len(shown(capsys, folder.parents[1], folder.name[5:9], "--worst", "99")) == 6


def test_the_worst_are_the_highest_where_lower_is_better(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cell(root, better={"rougeL": "lower"})
    capsys.readouterr()
    assert [one["scores"]["rougeL"] for one in shown(capsys, folder, "--worst", "2")] == [0.6, 0.5]
    assert main(["samples", str(folder), "--worst", "1"]) == 0
    assert "highest rougeL first" in capsys.readouterr().out
    folder = cell(root, seed=1, better={"rougeL": None})
    assert main(["samples", str(folder), "--worst", "1"]) == 2
    assert "rougeL" in capsys.readouterr().err


def test_text_of_models_and_data_is_harmless_on_a_terminal(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cell(root)
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["samples", str(folder), "--worst", "1"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "Answer 1\\u001b[31m" in out
    assert "1 of 8 samples, lowest rougeL first" in out
    body = out[out.index("samples,") :]
    assert max(map(len, body.splitlines())) <= 60


def test_the_persona_holds_the_items_that_the_ranking_chose(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / "tasks" / "notes.yaml"
    text = file.read_text("utf-8").replace("  k: 4", "  k: 1\n  retrieve: bm25")
    file.write_text(text, encoding="utf-8")
    history = ["On tea.", "On coffee.", "Talks of cats here.", "On bread."]
    write_rows(root, [{**row, "question": "cats", "history": history} for row in ROWS])
    found = shown(capsys, cell(root))
    assert {tuple(one["persona"]) for one in found} == {("- Talks of cats here.",)}


def test_a_dialogue_is_one_sample_whose_score_is_its_mean(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = load_task("embedded/dialogue")
    data = load_examples(task, "test", 2)
    inputs = {
        "version": EVAL_VERSION,
        "target": target_inputs(task.name, task.spec, _helpers(task.spec)),
        "data": data.digest,
        "seed": 0,
    }
    folder = RunDir(root / "talks").cell("eval", identity_of(inputs))
    folder.begin()
    turns = [(example, turn) for turn in (1, 2) for example in data.examples]
    folder.append(
        [
            {"id": f"{one.id}#{turn}", "user": one.user, "turn": turn, "message": f"Said {turn}.",
             "response": f"Reply {turn}.", "finish_reason": "stop", "rating": turn + place, "pmi": 0.1}
            for place, (one, turn) in enumerate(turns)
        ]
    )  # fmt: skip
    ids = [f"{one.id}#{turn}" for one, turn in turns]
    scores = Scores(ids=ids, clusters=["u"] * 4, scores={"pmi": [0.1, 0.2, 0.5, None]})
    folder.write_scores(scores)
    folder.finish(record(folder.identity, inputs, "pmi", Labels(model="tiny", target=task.name, seed=0)))
    first, second = data.examples
    worst, best = shown(capsys, folder.path, "--worst", "5")
    assert (worst["id"], worst["scores"]) == (second.id, {"pmi": 0.2})
    assert (best["id"], best["scores"]) == (first.id, {"pmi": pytest.approx(0.3)})
    assert [(turn["message"], turn["reply"]) for turn in best["turns"]] == [
        ("Said 1.", "Reply 1."),
        ("Said 2.", "Reply 2."),
    ]
    assert best["persona"] == [first.extra["profile"], first.extra["personality"]]
    assert best["turns"][1]["scores"] == {"rating": 4, "pmi": 0.1}
    assert main(["samples", str(folder.path)]) == 0
    out = capsys.readouterr().out
    assert out.index("Said 1.") < out.index("Reply 1.") < out.index("rating 1") < out.index("Said 2.")


@pytest.mark.parametrize("what", ["other question", "gone", "no task"])
def test_what_cannot_be_shown_is_said(root: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    folder = cell(root)
    capsys.readouterr()
    if what == "other question":
        write_rows(root, [{**row, "question": "Another?"} for row in ROWS])
    elif what == "gone":
        (root / "tasks" / "notes" / "test.jsonl").unlink()
    else:
        (root / "tasks" / "notes.yaml").unlink()
    for one in shown(capsys, folder):
        assert one["answer"].startswith("Answer")
        assert one["reference"] is not None
        assert one["notes"]


def test_a_cell_that_is_not_named_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cell(root)
    cell(root, seed=1)
    capsys.readouterr()
    run = folder.parents[1]
    for words in ([], ["tiny"], ["nothing"]):
        assert main(["samples", str(run), *words]) == 2
        err = capsys.readouterr().err
        assert err.count("eval tiny base notes seed") == 2
        assert folder.name[5:13] in err
    assert len(shown(capsys, run, "seed 1")) == 5
    assert len(shown(capsys, run, "seed", "1")) == 5  # a word, not a digit of some identity
    assert len(shown(capsys, run, folder.name[:12])) == 5
    assert main(["samples", str(root / "nowhere")]) == 2
    assert main(["samples", str(run / "cells" / "eval-0")]) == 2
