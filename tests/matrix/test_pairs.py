"""A trainer of pairs from rows to a table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from perbench.store import read_records
from tests.matrix.conftest import WRITING, Root, write_rows, writing_rows
from tests.matrix.runs import Runs

FIELDS = {"user": "user", "question": "ask", "reference": "answer", "persona": "past", "rejected": "worse"}


def test_a_run(root: Root, runs: Runs, tmp_path: Path) -> None:
    others = writing_rows(4, 6)
    rows = [{**row, "worse": other["answer"]} for row, other in zip(writing_rows(0, 6), others, strict=True)]
    write_rows(root.path / "data" / "writing" / "train.jsonl", rows)
    root.task("writing", fields={**WRITING["fields"], **FIELDS})
    root.matrix(trainers=["ce", "dpo"], targets=["tiny/writing"], identifiers=[])
    out = tmp_path / "run"
    code, shown, said = runs(root.path, "run", "--matrix", "small", "--out", str(out))
    assert code == 0, said
    assert {"ce", "dpo"} <= {line.split()[0] for line in shown.splitlines() if line.strip()}
    found = {one.labels.trainer: one for one, _ in read_records(out) if one.kind == "train"}
    ce, dpo = found["ce"].tokens, found["dpo"].tokens
    assert dpo["response"] == pytest.approx(2 * ce["response"], rel=0.2)
    assert dpo["total"] > 1.8 * ce["total"]
    (log,) = [path for path in out.rglob("*.jsonl") if '"margin' in path.read_text()]
    losses = [json.loads(line)["loss"] for line in log.read_text().splitlines()]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[-1] < losses[0]

    code, planned, _ = runs(
        root.path, "run", "--matrix", "small", "--out", str(tmp_path / "x"), "--dry-run", "--json"
    )
    assert code == 0
    asked = {
        cell["labels"]["trainer"]: cell for cell in json.loads(planned)["cells"] if cell["kind"] == "train"
    }
    assert asked["dpo"]["tokens"] == dpo["total"]
    assert asked["dpo"]["tokens_exact"]
