"""A matrix with users' own adapters: killed at every phase, told apart by identity, the fallback counted."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import expand
from perbench.matrix.plan import make_plan
from perbench.specs.matrices import load_matrix
from perbench.store import CellRecord, RunDir, read_records
from tests.damage import flip
from tests.matrix.conftest import MATRIX, Root, write_rows, writing_rows
from tests.matrix.runs import Runs, results

CHANGES: dict[str, Any] = {
    "trainers": ["ce"],
    "targets": ["tiny/writing", "tiny/other"],
    "identifiers": [],
    "base_rows": False,
    "training": {**MATRIX["training"], "epochs": 1.0, "per_user": {"batch_size": 2, "learning_rate": 0.02}},
}


@pytest.fixture
def root(root: Root) -> Root:
    """With a user who has no history."""
    stranger = {"user": "stranger", "ask": "Who are you?", "answer": "Nobody.", "past": []}
    write_rows(root.path / "data/writing/test.jsonl", [*writing_rows(7, 5), stranger])
    root.matrix(**CHANGES)
    return root


def records(out: Path) -> dict[str, CellRecord]:
    return {record.labels.target or "train": record for record, _ in read_records(out)}


def test_records_count_users_and_answers_by_each_adapter(root: Root, runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out))
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    found = records(out)
    counts = found["train"].counts
    assert (counts["users"], counts["users_with_adapter"]) == (4, 3)
    assert counts["own_examples"] > 3
    assert counts["own_steps"] >= 3
    assert found["train"].tokens["own_response"] > 0
    assert found["train"].inputs["training"]["per_user"]["rank"] == 8
    own, other = found["tiny/writing"], found["tiny/other"]
    assert (own.counts["own_adapter"], own.counts["task_adapter"]) == (5, 1)
    assert own.notes == ["1 of 6 answers by no adapter of the user's own"]
    # Names of users mean something within their task only.
    assert (other.counts["own_adapter"], other.counts["task_adapter"]) == (0, 5)

    # Users' adapters that are gone or damaged are trained again, once they are needed.
    folders = {record.labels.target: folder for record, folder in read_records(out)}
    gone, damaged, *_ = sorted((folders[None] / "checkpoint" / "users").glob("*/final"))
    shutil.rmtree(gone.parent)
    flip(damaged / "adapter_model.safetensors", random.Random(0))
    spec = load_matrix("small").spec
    plan = make_plan(expand(spec, Catalogue(spec, {}, None)), RunDir(out))
    assert plan.todo == ()
    before = (folders["tiny/writing"] / "samples.jsonl").read_bytes()
    shutil.rmtree(folders["tiny/writing"])
    code, output, errors = runs(root.path, *words, "--json")
    assert code == 0, errors
    assert "to do: 1 train, 1 evaluate" in errors
    assert (folders["tiny/writing"] / "samples.jsonl").read_bytes() == before
    assert json.loads(output)["failed"] == 0


@pytest.mark.parametrize(
    "kill",
    [
        ("finish weights", 1),  # the task's adapter trained, no user's
        ("save", 3),  # in the training of a user's adapter
        ("finish weights", 3),  # two users' adapters trained
        ("append", 2),  # between two users' answers
    ],
    ids=lambda kill: f"{kill[0]}-{kill[1]}",
)
def test_killed_and_started_again_a_run_ends_as_if_nothing_had_been(
    root: Root, runs: Runs, tmp_path: Path, expected: dict[str, Any], kill: tuple[str, int]
) -> None:
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"))
    code, _, errors = runs(root.path, *words, kill=kill)
    assert code == -signal.SIGKILL, errors
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    assert results(tmp_path / "run") == expected
    assert "3 cells reused" in runs(root.path, *words)[2]


def cells(root: Root) -> tuple[str, str]:
    spec = load_matrix("small").spec
    train, writing, *_ = expand(spec, Catalogue(spec, {}, None))
    return train.identity, writing.identity


def test_identity_covers_the_users_data_and_recipe(root: Root) -> None:
    before = cells(root)
    root.matrix(**{**CHANGES, "training": {**CHANGES["training"], "per_user": {"batch_size": 2, "rank": 4}}})
    changed = cells(root)
    root.matrix(**{**CHANGES, "training": {**CHANGES["training"], "per_user": False}})
    without = cells(root)
    assert len({before[0], changed[0], without[0]}) == len({before[1], changed[1], without[1]}) == 3
    root.matrix(**CHANGES)
    assert cells(root) == before
    rows = writing_rows(7, 5)
    write_rows(root.path / "data/writing/test.jsonl", [{**rows[0], "past": ["Once upon a time."]}, *rows[1:]])
    assert cells(root)[0] != before[0]


def test_a_task_without_items_as_examples_is_named_before_anything_runs(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    fields = {"user": "user", "question": "ask", "reference": "answer", "persona": "past"}
    root.task("writing", fields=fields)
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(tmp_path / "run"))
    assert code == 2
    assert "task tiny/writing: per_user learns from history items" in errors
    assert not (tmp_path / "run").exists()
