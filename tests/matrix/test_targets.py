"""What targets may ask for besides their metrics, through the CLI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from perbench.store import read_records
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
