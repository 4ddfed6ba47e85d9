"""A matrix with a likelihood row beside the generation row of a task: planned, run, killed, rescored."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import expand
from perbench.specs.matrices import load_matrix
from perbench.store import CellRecord, read_records
from tests.matrix.conftest import MATRIX, Root, write_rows, writing_rows
from tests.matrix.runs import Runs, results

ROW = {"task": "tiny/writing", "protocol": "likelihood", "likelihood.others": 1}
LABEL = "tiny/writing (likelihood.others=1, likelihood)"  # in the order of the file
CHANGES: dict[str, Any] = {"targets": ["tiny/writing", ROW], "identifiers": []}


@pytest.fixture
def cache(tmp_path: Path) -> dict[str, str]:
    return {"PERBENCH_CACHE": str(tmp_path / "cache")}


def evaluations(out: Path) -> dict[tuple[str | None, str | None], CellRecord]:
    found = [record for record, _ in read_records(out) if record.kind == "eval"]
    return {(one.labels.trainer, one.labels.target): one for one in found}


def test_a_run_from_plan_to_rescore(root: Root, runs: Runs, tmp_path: Path, cache: dict[str, str]) -> None:
    root.matrix(**CHANGES)
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out))
    code, text, errors = runs(root.path, *words, "--dry-run", env=cache)
    assert code == 0, errors
    assert "6 to evaluate" in text
    code, _, errors = runs(root.path, *words, env=cache)
    assert code == 0, errors
    found = evaluations(out)
    assert {target for _, target in found} == {"tiny/writing", LABEL}
    base, ce = found[None, LABEL], found["ce", LABEL]
    assert (base.headline, base.better_of("nll")) == ("nll", "lower")
    assert ce.trained_by == found["ce", "tiny/writing"].trained_by
    held = [
        json.loads(line)
        for line in (out / "cells").glob(f"eval-{ce.identity[:16]}/samples.jsonl").__next__().open()
    ]
    before = [
        json.loads(line)
        for line in (out / "cells").glob(f"eval-{base.identity[:16]}/samples.jsonl").__next__().open()
    ]
    assert [one["personal"] for one in held] == [one["personal"] for one in before]
    assert ce.metrics["nll"].value != base.metrics["nll"].value
    assert ce.counts["samples"] == 5
    first = results(out)
    for command in (("rescore", str(out)), ("verify", str(out))):
        code, _, errors = runs(root.path, *command, env=cache)
        assert code == 0, errors
    assert results(out) == first
    code, text, _ = runs(root.path, "leaderboard", "show", str(out), env=cache)
    assert code == 0
    assert "nll" in text
    code, _, errors = runs(
        root.path, "leaderboard", "build", str(out), "--out", str(tmp_path / "site"), env=cache
    )
    assert code == 0, errors


def test_killed_and_resumed_equals_uninterrupted(
    root: Root, runs: Runs, tmp_path: Path, cache: dict[str, str]
) -> None:
    root.matrix(**{**CHANGES, "trainers": ["ce"], "targets": [ROW]})
    whole = tmp_path / "whole"
    assert runs(root.path, "run", "--matrix", "small", "--out", str(whole), env=cache)[0] == 0
    for number, kill in enumerate((("append", 2), ("torn", 1), ("score", 1), ("score", 3))):
        out, own = tmp_path / f"out{number}", {"PERBENCH_CACHE": str(tmp_path / f"cache{number}")}
        words = ("run", "--matrix", "small", "--out", str(out))
        assert runs(root.path, *words, kill=kill, env=own)[0] < 0
        assert runs(root.path, *words, env=own)[0] == 0
        assert results(out) == results(whole)


def test_trainings_are_those_of_the_task_as_it_is(root: Root) -> None:
    def trained(**changes: Any) -> set[str]:
        root.matrix(**{**CHANGES, **changes})
        spec = load_matrix("small").spec
        return {cell.identity for cell in expand(spec, Catalogue(spec, {}, None)) if cell.kind == "train"}

    plain = trained(targets=["tiny/writing"])
    assert trained() == trained(targets=[{**ROW, "task": "own"}]) == plain
    assert trained(sources=[{"task": "tiny/writing", "protocol": "likelihood"}]) == plain


def test_a_learning_rate_is_chosen_by_likelihood(
    root: Root, runs: Runs, tmp_path: Path, cache: dict[str, str]
) -> None:
    source = {"task": "tiny/writing", "protocol": "likelihood"}
    training = {**MATRIX["training"], "learning_rate": [1e-6, 0.02]}
    select = {"axis": "learning_rate", "on": "test"}
    changes = {"sources": [source], "trainers": ["ce"], "base_rows": False, "training": training}
    root.matrix(**{**CHANGES, **changes, "targets": ["tiny/other"], "select": select})
    out = tmp_path / "run"
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out), env=cache)
    assert code == 0, errors
    found = [record for record, _ in read_records(out) if record.kind == "eval"]
    rate = {one.identity: one.labels.training["learning_rate"] for one in found}
    tried = {rate[one.identity]: one.metrics["nll"].value for one in found if one.headline == "nll"}
    (chosen,) = [rate[one.identity] for one in found if one.labels.target == "tiny/other"]
    assert tried.keys() == {1e-6, 0.02}
    assert chosen == min(tried, key=lambda one: tried[one] or 0.0)


def test_personas_of_one_user_are_refused_in_planning(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root.matrix(**CHANGES)
    rows = [row for row in writing_rows(7, 9) if row["user"] == "user 1"]
    write_rows(root.path / "data/writing/test.jsonl", rows)
    for more in (["--dry-run"], []):
        assert main(["run", "--matrix", "small", "--out", str(tmp_path / "out"), *more]) == 2
        told = capsys.readouterr().err
        assert re.search(r"test\.jsonl.*likelihood\.others: 0", told)
    file = root.path / "tasks/tiny/lone.yaml"
    task = (root.path / "tasks/tiny/writing.yaml").read_text()
    dropped = (
        "metrics:",
        "- rouge1",
        "- length",
        "headline",
        "sampling",
        "  max_new",
        "  temperature",
        "protocol",
    )
    kept = [line for line in task.splitlines() if not line.startswith(dropped)]
    file.write_text("\n".join([*kept, "protocol: likelihood", "headline: nll", ""]))
    assert main(["validate", str(file)]) == 2
    assert "likelihood.others: 0" in capsys.readouterr().err
    file.write_text(file.read_text() + "likelihood: {others: 0}\n")
    assert main(["validate", str(file)]) == 0
    root.matrix(**{**CHANGES, "targets": [{**ROW, "likelihood.others": 0}]})
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]) == 0


def test_an_endpoint_is_refused_in_planning(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = {"base_url": "http://127.0.0.1:1/v1", "model": "far"}
    root.write("leaderboard/models/far", {"summary": "far", "endpoint": endpoint})
    root.matrix(**{**CHANGES, "models": ["far"], "trainers": [], "sources": [], "baseline": None})
    for words in (["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"],):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert re.search(r"tiny/writing.*log-probs.*far", told)
