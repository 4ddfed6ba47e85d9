"""Training on what is tested: refused before a run begins, or accepted by the file and counted there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import expand
from perbench.matrix.overlaps import accepted, refused
from perbench.specs.matrices import load_matrix
from perbench.store import CellDir, read_records
from tests.matrix.conftest import Root, write_rows, writing_rows
from tests.matrix.runs import Runs

PLAIN: dict[str, Any] = {
    "trainers": ["ce"],
    "targets": ["tiny/writing"],
    "identifiers": [],
    "base_rows": False,
}
LONG = "I walk along the cold river with a long novel and a lamp, every night of the week."
ONE_FILE = {"files": "../../data/writing/all.jsonl"}


def checked(root: Root, **changes: Any) -> tuple[list[str], list[str]]:
    spec = load_matrix(root.matrix(**{**PLAIN, **changes})).spec
    catalogue = Catalogue(spec, {}, None)
    cells = expand(spec, catalogue)
    return refused(cells), accepted(cells)


def write_test(root: Root, name: str, rows: list[dict[str, Any]]) -> None:
    write_rows(root.path / "data" / name / "test.jsonl", rows)


def test_splits_that_share_nothing_are_no_matter(root: Root) -> None:
    assert checked(root, sources=["tiny/writing", "tiny/other"], targets=["tiny/writing", "tiny/other"]) == (
        [],
        [],
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (writing_rows(0, 6)[2], "1 as the same row"),
        ({**writing_rows(9, 1)[0], "answer": LONG}, "1 as the same text"),
        ({**writing_rows(9, 1)[0], "answer": LONG[2:-5]}, "1 in a history"),
    ],
)
def test_a_shared_row_text_or_history_is_refused_with_its_place(
    root: Root, row: dict[str, Any], said: str
) -> None:
    train = writing_rows(0, 6)
    train[4] = {**train[4], "answer": LONG, "past": [f"Once: {LONG}"]}
    write_rows(root.path / "data/writing/train.jsonl", train)
    write_test(root, "writing", [*writing_rows(7, 4), row])
    write_test(root, "other", [*writing_rows(7, 4), row])
    ((fault,), _) = checked(root)
    place = root.path / "data/writing/test.jsonl"
    for part in ("target tiny/writing", "tiny/writing saw 1 of the 5", said, "data.overlap: accepted"):
        assert part in fault
    assert f"{place.resolve()}:5" in fault.replace(f"{root.path}/tasks/tiny/../..", str(root.path))
    assert len(checked(root, targets=["tiny/other"])[0]) == 1  # of another task, whose file it is not
    root.task("other", data={"files": "../../data/other", "overlap": "accepted"})
    faults, lines = checked(root, targets=["tiny/other"])
    assert faults == []
    assert len(lines) == 1
    assert said in lines[0]
    assert "tiny/other" in lines[0]


def test_an_identification_task_may_not_be_tuned_on_its_test_split(root: Root) -> None:
    rows = [{**row, "gold": []} for row in writing_rows(0, 2)]
    write_rows(root.path / "data" / "qa" / "train.jsonl", rows)
    changes = {
        "targets": ["tiny/qa"],
        "identifiers": ["content_words"],
        "trainers": [],
        "sources": [],
        "baseline": None,
    }
    ((fault,), _) = checked(root, **changes)
    assert "thresholds are chosen on saw 2 of the 3" in fault


# ---------------------------------------------------------------- one file


def test_one_file_serves_one_axis_unless_it_is_cut(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(root.path / "data/writing/all.jsonl", writing_rows(0, 12))
    root.task("writing", data=ONE_FILE)
    ((fault,), _) = checked(root)
    assert "data.split: {by: user}" in fault
    assert len(checked(root, tasks={"tiny/writing": {"examples.test": 1, "examples.train": 1}})[0]) == 1
    assert checked(root, targets=["tiny/other"])[0] == []
    root.task("writing", data={**ONE_FILE, "split": {"by": "user"}})
    assert checked(root) == ([], [])
    root.task("writing", data={**ONE_FILE, "overlap": "accepted"})
    faults, (line,) = checked(root)
    assert faults == []
    assert "saw 12 of the 12" in line


def test_training_alone_tests_nothing(root: Root, tmp_path: Path) -> None:
    write_rows(root.path / "data/writing/all.jsonl", writing_rows(0, 12))
    root.task("writing", data=ONE_FILE)
    words = [
        "--model",
        "tiny",
        "--trainer",
        "ce",
        "--source",
        "tiny/writing",
        "--out",
        str(tmp_path),
        "--dry-run",
    ]
    assert main(["train", *words]) == 0
    assert main(["eval", *words, "--target", "tiny/writing"]) == 2


# ---------------------------------------------------------------- runs


def test_a_dry_run_shows_the_plan_and_exits_2_and_a_run_begins_nothing(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root.matrix(**PLAIN)
    write_test(root, "writing", writing_rows(0, 3))
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["total"]["eval"] == 1
    assert "refused: target tiny/writing" in told.err
    assert main(words) == 2
    assert "3 as the same row" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cells").exists()


def test_what_is_accepted_is_counted_at_the_number(root: Root, runs: Runs, tmp_path: Path) -> None:
    write_test(root, "writing", [*writing_rows(7, 4), writing_rows(0, 1)[0]])
    root.task("writing", data={"files": "../../data/writing", "overlap": "accepted"})
    root.matrix(**PLAIN, training={"epochs": 1.0, "precision": "fp32"}, baseline=None)
    out = tmp_path / "out"
    code, output, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out))
    assert code == 0, errors
    assert "target tiny/writing: " in errors
    (record,) = [record for record, _ in read_records(out) if record.kind == "eval"]
    assert record.counts["overlap_rows"] == 1
    (note,) = [note for note in record.notes if "tiny/writing saw 1 of the 5" in note]
    assert "saw 1 of the 5" in " ".join(output.split()), "at the number on the terminal"
    assert runs(root.path, "rescore", str(out))[0] == 0
    again = next(record for record, _ in read_records(out) if record.kind == "eval")
    assert note in again.notes
    page = tmp_path / "site"
    assert runs(root.path, "leaderboard", "build", str(out), "--out", str(page))[0] == 0
    assert "saw 1 of the 5" in (page / "index.html").read_text()


def test_a_record_of_before_gets_its_counts_when_it_is_reused(root: Root, runs: Runs, tmp_path: Path) -> None:
    write_test(root, "writing", [*writing_rows(7, 4), writing_rows(0, 1)[0]])
    root.task("writing", data={"files": "../../data/writing", "overlap": "accepted"})
    root.matrix(**PLAIN, training={"epochs": 1.0, "precision": "fp32"}, baseline=None)
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "out"))
    assert runs(root.path, *words)[0] == 0
    ((after, path),) = [found for found in read_records(tmp_path / "out") if found[0].kind == "eval"]
    counts = {name: count for name, count in after.counts.items() if name != "overlap_rows"}
    before = after.model_copy(update={"counts": counts, "notes": []})
    CellDir(path, "eval", after.identity).finish(before)
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    assert "2 cells reused" in errors
    (found,) = [record for record, _ in read_records(tmp_path / "out") if record.kind == "eval"]
    assert (found.counts, found.notes) == (after.counts, after.notes)
