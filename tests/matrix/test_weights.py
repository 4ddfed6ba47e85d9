"""What an evaluation loads is what its training wrote and its record names."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from perbench.disk import digests
from perbench.disk.digests import file_sha256
from perbench.disk.manifest import seal_folder
from perbench.errors import CellError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.weights import serving_weights, trained_weights
from perbench.specs.matrices import load_matrix
from perbench.store import CellDir, CellRecord, RunDir
from tests.damage import DAMAGES, flip
from tests.matrix.conftest import Root


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setattr(digests, "KNOWN", {})


@pytest.fixture
def cells(root: Root, own_cache: None) -> list[Cell]:
    spec = load_matrix(root.matrix(identifiers=[], targets=["tiny/writing"])).spec
    return expand(spec, Catalogue(spec, {}, None))


def trained(run: RunDir, cell: Cell, content: bytes) -> tuple[CellDir, CellRecord]:
    folder = run.cell("train", cell.identity)
    final = folder.checkpoint / "final"
    final.mkdir(parents=True)
    (final / "adapter_model.safetensors").write_bytes(content)
    (final / "state.json").write_text('{"name": "final"}')
    facts: dict[str, Any] = {"kind": "train", "identity": cell.identity, "inputs": {}, "labels": cell.labels}
    times = {"started": "", "finished": "", "seconds": 0.0}
    record = CellRecord(
        **facts, **times, status="done", environment={}, command="", weights={"final": seal_folder(final)}
    )
    return folder, record


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damaged_weights_serve_no_evaluation_and_the_next_plan_sees_it(
    cells: list[Cell], tmp_path: Path, damage: str
) -> None:
    wanting = next(cell for cell in cells if cell.needs is not None)
    assert wanting.needs is not None
    folder, record = trained(RunDir(tmp_path), wanting.needs, bytes(range(256)) * 64)
    assert serving_weights(wanting, wanting.needs, folder, record).users is None
    assert trained_weights(wanting.needs, folder, record, file_sha256).faults == []
    chance = random.Random(damage)
    assert DAMAGES[damage](folder.checkpoint / "final" / "adapter_model.safetensors", chance)
    with pytest.raises(CellError, match=r"adapter_model.*run the same command again to retrain"):
        serving_weights(wanting, wanting.needs, folder, record)
    assert trained_weights(wanting.needs, folder, record, file_sha256).faults


def test_a_change_that_a_remembered_hash_does_not_show_is_found_by_the_next_plan(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanting = next(cell for cell in cells if cell.needs is not None)
    assert wanting.needs is not None
    folder, record = trained(RunDir(tmp_path), wanting.needs, bytes(256))
    monkeypatch.setattr(digests, "file_state", lambda path: (path.name, True))  # as bits that rot on the disk
    assert trained_weights(wanting.needs, folder, record, file_sha256).faults == []
    flip(folder.checkpoint / "final" / "adapter_model.safetensors", random.Random(0))
    digests.KNOWN.clear()  # as in another process
    assert trained_weights(wanting.needs, folder, record, file_sha256).faults == []
    with pytest.raises(CellError, match=r"adapter_model\.safetensors is damaged"):
        serving_weights(wanting, wanting.needs, folder, record)
    digests.KNOWN.clear()
    assert trained_weights(wanting.needs, folder, record, file_sha256).faults


def test_the_weights_of_another_training_are_not_these(cells: list[Cell], tmp_path: Path) -> None:
    one, other = (cell for cell in cells if cell.kind == "train")
    wanting = next(cell for cell in cells if cell.needs is one)
    folder, record = trained(RunDir(tmp_path), one, b"one")
    foreign, _ = trained(RunDir(tmp_path), other, b"other")
    shutil.rmtree(folder.checkpoint)
    shutil.copytree(foreign.checkpoint, folder.checkpoint)
    with pytest.raises(CellError, match=r"final is not the folder that was written here"):
        serving_weights(wanting, one, folder, record)
