"""What targets may ask for besides their metrics, through the CLI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from perbench.store import read_records
from tests.lm_eval.conftest import choice_rows, write_tasks
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    process = Runs()
    yield process
    process.close()


def test_persona_swap_of_trained_rows_is_scored_by_the_untrained_model(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    swap = {"persona_swap.others": 2, "headline": "persona_swap"}
    root.matrix(trainers=["ce"], targets=["tiny/writing"], identifiers=[], tasks={"tiny/writing": swap})
    out = tmp_path / "run"
    code, output, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out), "--json")
    assert code == 0, errors
    values = [cell["value"] for cell in json.loads(output)["cells"] if cell["kind"] == "eval"]
    assert len(values) == 2
    assert all(0 <= value <= 1 for value in values)
    records = {r.labels.trainer: (r, folder) for r, folder in read_records(out) if r.kind == "eval"}
    base, trained = records[None][0], records["ce"][0]
    assert base.metrics["persona_swap_reference"] == trained.metrics["persona_swap_reference"]
    assert base.tokens["scored"] > 0
    code, output, errors = runs(root.path, "rescore", str(out))
    assert code == 0, errors
    assert "nothing changed" in output


def test_general_ability_stands_beside_the_tasks(root: Root, runs: Runs, tmp_path: Path) -> None:
    write_tasks(root.path, choice_rows(5))
    root.matrix(trainers=["ce"], targets=["tiny/writing", "lm_eval:tiny_choice"], identifiers=[])
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out), "--limit", "4")
    code, output, errors = runs(root.path, *words, "--dry-run")
    assert code == 0, errors
    assert "lm_eval:tiny_choice" in output
    code, output, errors = runs(root.path, *words)
    assert code == 0, errors
    assert "%|" not in errors  # lm-eval's own bars
    records = [r for r, _ in read_records(out) if r.labels.target == "lm_eval:tiny_choice"]
    assert {record.labels.trainer for record in records} == {None, "ce"}
    assert all(record.metrics["acc"].n == 4 for record in records)
    assert "lm_eval:tiny_choice" in output
    code, output, errors = runs(root.path, "rescore", str(out))
    assert (code, "nothing changed" in output) == (0, True), errors
    code, _, errors = runs(root.path, *words, "--set", "targets=[lm_eval:tiny_choise]")
    assert code == 2
    assert "Did you mean 'tiny_choice'?" in errors
