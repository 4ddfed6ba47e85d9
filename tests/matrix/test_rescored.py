"""Settings that only scores depend on: a change is named at every run until the scores are made anew."""

from __future__ import annotations

from pathlib import Path

from perbench.store import read_records
from tests.matrix.conftest import TALK, Root, write_rows, writing_rows
from tests.matrix.runs import Runs

BASE = {"trainers": [], "sources": [], "targets": ["tiny/writing"], "identifiers": []}


def test_reused_cells_of_another_scale_are_named_until_they_are_rescored(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        rows = [{**row, "answer": "2"} for row in writing_rows(0, 4)]
        write_rows(root.path / "data" / "writing" / f"{split}.jsonl", rows)
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out), "--limit", "2")

    def run(*ratings: int) -> str:
        root.task("writing", metrics=["mae", "rmse"], headline="mae", ratings=[*ratings])
        root.matrix(baseline=None, **BASE)
        code, _, errors = runs(root.path, *words)
        assert code == 0, errors
        return errors

    def mae() -> float | None:
        ((record, _),) = read_records(out)
        return record.metrics["mae"].value

    assert "perbench rescore" not in run(1, 5)
    assert mae() == 3.0  # no answer is a number, so each counts as 5
    assert "perbench rescore" not in run(1, 5)
    changed = run(1, 9)
    assert "1 reused cell: mae, rmse of other settings or an older perbench; `perbench rescore" in changed
    assert mae() == 3.0
    code, planned, _ = runs(root.path, *words, "--dry-run", "--json")
    assert code == 0
    assert "mae, rmse of other settings" in planned
    assert runs(root.path, "rescore", str(out))[0] == 0
    assert mae() == 7.0
    assert "perbench rescore" not in run(1, 9)


def test_reused_dialogues_of_other_reported_turns_are_named(root: Root, runs: Runs, tmp_path: Path) -> None:
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"), "--limit", "1")
    root.matrix(baseline=None, **{**BASE, "targets": ["tiny/talk"]})

    def run(*turns: int) -> str:
        root.task("talk", dialogue={**TALK["dialogue"], "report_turns": [*turns]})
        code, _, errors = runs(root.path, *words)
        assert code == 0, errors
        return errors

    assert "perbench rescore" not in run()
    assert "perbench rescore" not in run()
    assert "rating, pmi, length of other settings or an older perbench; `perbench rescore" in run(1)
