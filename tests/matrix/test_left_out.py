"""Training examples that a task skips as too long: counted, and said wherever the model is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perbench.matrix.prepare import left_out
from perbench.store import read_records
from tests.matrix.conftest import MATRIX, Root, write_rows, writing_rows
from tests.matrix.runs import Runs

NOTE = "left out of training on tiny/writing: 2 of 11 examples, as too long (on_too_long: skip)"


@pytest.fixture
def root(root: Root) -> Root:
    """Two of eleven requests to train on are too long."""
    rows = writing_rows(0, 11)
    for row in rows[3:5]:
        row["ask"] = "deer " * 500
    write_rows(root.path / "data/writing/train.jsonl", rows)
    root.task("writing", on_too_long="skip")
    root.matrix(trainers=["ce"], targets=["tiny/writing"], identifiers=[], base_rows=True)
    return root


def test_records_pages_terminal_and_rescored_numbers_say_it(root: Root, runs: Runs, tmp_path: Path) -> None:
    out, wide = tmp_path / "run", {"COLUMNS": "200"}
    code, printed, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out), env=wide)
    assert code == 0, errors
    assert NOTE in printed
    site = tmp_path / "site"
    words = ("leaderboard", "build", "--out", str(site), str(out))
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    assert NOTE in (site / "index.html").read_text()

    def notes() -> dict[Any, bool]:
        return {(record.kind, record.labels.trainer): NOTE in record.notes for record, _ in read_records(out)}

    expected = {("train", "ce"): True, ("eval", "ce"): True, ("eval", None): False}
    assert notes() == expected
    ((trained, _),) = [pair for pair in read_records(out) if pair[0].kind == "train"]
    assert (trained.counts["examples"], trained.counts["examples_skipped_too_long"]) == (9, 2)
    code, _, errors = runs(root.path, "rescore", str(out))
    assert code == 0, errors
    assert notes() == expected


def test_users_own_examples_are_counted_without_what_is_skipped(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    rows = writing_rows(7, 5)
    rows[0]["past"] = ["deer " * 900, *rows[0]["past"]]
    root.task("writing", on_too_long="skip", max_length=300)
    write_rows(root.path / "data/writing/test.jsonl", rows)
    per_user = {"batch_size": 2, "learning_rate": 0.02}
    training = {**MATRIX["training"], "epochs": 1.0, "per_user": per_user}
    root.matrix(trainers=["ce"], targets=["tiny/writing"], identifiers=[], base_rows=False, training=training)
    out = tmp_path / "run"
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out))
    assert code == 0, errors
    for record, _ in read_records(out):
        (note,) = [note for note in record.notes if "own adapters" in note]
        assert "(users' own adapters): 1 of " in note
        if record.kind == "train":
            assert record.counts["own_examples_skipped_too_long"] == 1
            assert f"1 of {record.counts['own_examples'] + 1} examples" in note


def test_cut_responses_are_counted_in_both_stages_and_said_at_the_number(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    rows = writing_rows(7, 5)
    rows[0]["past"] = ["deer " * 900, *rows[0]["past"]]
    write_rows(root.path / "data/writing/test.jsonl", rows)
    learnt = writing_rows(0, 11)
    learnt[0]["answer"] = learnt[2]["answer"] = "deer " * 900
    learnt[4]["ask"] = "deer " * 900  # which cannot be cut
    write_rows(root.path / "data/writing/train.jsonl", learnt)
    root.task("writing", on_too_long="cut", max_length=300)
    per_user = {"batch_size": 2, "learning_rate": 0.02}
    training = {**MATRIX["training"], "epochs": 1.0, "per_user": per_user}
    root.matrix(trainers=["ce"], targets=["tiny/writing"], identifiers=[], base_rows=False, training=training)
    out, wide = tmp_path / "run", {"COLUMNS": "200"}
    code, printed, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out), env=wide)
    assert code == 0, errors
    skipped = "left out of training on tiny/writing: 1 of 11 examples, as too long (on_too_long: cut)"
    cut = "cut in training on tiny/writing: the responses of 2 of 10 examples, as too long (on_too_long: cut)"
    own = "cut in training on tiny/writing (users' own adapters): the responses of 1 of "
    for record, _ in read_records(out):
        assert {skipped, cut} < set(record.notes)
        assert [note for note in record.notes if note.startswith(own)]
        if record.kind == "train":
            counts = record.counts
            assert (counts["examples"], counts["examples_skipped_too_long"], counts["responses_cut"]) == (
                10,
                1,
                2,
            )
            assert counts["own_responses_cut"] == 1
            assert "own_examples_skipped_too_long" not in counts
    assert cut in printed
    site = tmp_path / "site"
    code, _, errors = runs(root.path, "leaderboard", "build", "--out", str(site), str(out))
    assert code == 0, errors
    assert cut in (site / "index.html").read_text()
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(tmp_path / "new"), "--dry-run")
    assert code == 0, errors


def test_nothing_is_said_where_nothing_was_left_out() -> None:
    assert left_out("a", {"examples": 5}, {"source": {}}) == []


def test_a_training_that_would_skip_all_says_so(root: Root, runs: Runs, tmp_path: Path) -> None:
    rows = [{**row, "ask": "deer " * 500} for row in writing_rows(0, 4)]
    write_rows(root.path / "data/writing/train.jsonl", rows)
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(tmp_path / "run"))
    assert code == 1
    assert "task tiny/writing: all 4 examples are too long" in errors
    assert "max_length" in errors


@pytest.mark.parametrize("how", ["fail", "skip", "cut"])
def test_a_plan_in_which_nothing_fits_is_refused(root: Root, runs: Runs, tmp_path: Path, how: str) -> None:
    root.task("writing", on_too_long=how, max_prompt=3)
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"), "--dry-run")
    code, _, errors = runs(root.path, *words)
    assert code == 2
    line = errors.splitlines()[-1]
    assert f"{root.path}/tasks/tiny/writing.yaml: task tiny/writing: " in line
    assert "max_prompt 3; raise max_prompt" in line
    assert ("set on_too_long" in line) == (how == "fail")
    if how != "fail":
        assert f"(on_too_long: {how})" in line
    root.task("writing", on_too_long=how, max_prompt=800, max_length=10_000)
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
