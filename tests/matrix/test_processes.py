"""`perbench run` started by torchrun: all processes train; one evaluates, writes and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from perbench import cli
from perbench.store import CellRecord, read_records
from tests.matrix.conftest import Root
from tests.processes import torchrun

BROKEN = """
from perbench.api import TokenBatch, Trainer

class Broken(Trainer):
    def loss(self, batch: TokenBatch):
        raise RuntimeError("a loss that fails")
"""


def cells(out: Path) -> dict[str, tuple[CellRecord, Path]]:
    return {f"{r.kind} {r.labels.trainer}": (r, path) for r, path in read_records(out)}


def test_two_processes_give_the_run_of_one(
    root: Root, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root.trainer("broken", BROKEN)
    root.matrix(trainers=["broken", "perce"], targets=["tiny/writing"], identifiers=[], baseline=None)
    words = ("run", "--matrix", "small", "--json", "--out")
    assert cli.main([*words, str(tmp_path / "one")]) == 1
    alone = json.loads(capfd.readouterr().out)
    done = torchrun("-m", "perbench", *words, str(tmp_path / "two"), PERBENCH_INCLUDE=str(root.path))
    assert done.returncode == 1, done.stderr[-3000:]
    assert "a loss that fails" in done.stderr
    together = json.loads(done.stdout)  # one process printed
    assert [(c["kind"], c["status"]) for c in together["cells"]] == [
        (c["kind"], c["status"]) for c in alone["cells"]
    ]
    assert {c["status"] for c in together["cells"]} == {"done", "failed"}
    ours, theirs = cells(tmp_path / "two"), cells(tmp_path / "one")
    assert ours.keys() == theirs.keys()
    assert [r.identity for r, _ in ours.values()] == [r.identity for r, _ in theirs.values()]
    (record, folder), (expected, other) = ours["train perce"], theirs["train perce"]
    assert (record.counts, record.tokens) == (expected.counts, expected.tokens)
    assert [r.environment["processes"] for r in (record, expected)] == [2, 1]
    assert record.environment["precision"] == expected.environment["precision"] in ("bf16", "fp32")
    assert [entry["loss"] for entry in record.training_log] == pytest.approx(
        [entry["loss"] for entry in expected.training_log], rel=1e-4
    )
    trained, single = (
        load_file(path / "checkpoint" / "final" / "adapter_model.safetensors") for path in (folder, other)
    )
    for name, weight in single.items():
        assert (trained[name] - weight).abs().gt(1e-4).float().mean() < 0.01, name
