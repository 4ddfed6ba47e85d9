"""Damage of a sealed folder is found, whatever it is and wherever it is."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perbench.disk.manifest import (
    MANIFEST,
    Damaged,
    faults,
    seal_folder,
    seal_of,
    verify,
)
from tests.damage import DAMAGES

FILES = {"weights.safetensors": bytes(range(256)), "config.json": b"{}", "sub/a.jinja": b"x", "empty": b""}


def sealed(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    seal_folder(folder)
    return folder


def test_a_sealed_folder_names_every_fault(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "model")
    assert faults(folder) == []
    verify(folder, "")
    (folder / "weights.safetensors").write_bytes(bytes(256))
    (folder / "config.json").write_bytes(b"{} ")
    (folder / "sub/a.jinja").unlink()
    (folder / "adapter_config.json").touch()
    (folder / ".nfs0001").touch()  # what file systems leave, and no loader reads
    assert [fault.removeprefix(f"{folder}/") for fault in faults(folder)] == [
        "adapter_config.json is unexpected",
        "config.json is damaged (size 3, not 2)",
        "sub/a.jinja is missing",
        "weights.safetensors is damaged (its sha256 differs)",
    ]
    with pytest.raises(Damaged, match=r"sub/a\.jinja is missing.*Train it again\.") as caught:
        verify(folder, "Train it again.")
    assert len(caught.value.faults) == 4


def test_no_folder_and_no_manifest(tmp_path: Path) -> None:
    assert faults(tmp_path / "gone") == [f"{tmp_path / 'gone'} is missing"]
    tmp_path.joinpath("file").touch()
    assert faults(tmp_path) == [f"{tmp_path / MANIFEST} is missing"]


def test_another_sealed_folder_is_not_this_one(tmp_path: Path) -> None:
    folder, other = sealed(tmp_path / "one"), tmp_path / "other"
    shutil.copytree(folder, other)
    seal = seal_of(folder)
    assert faults(other, seal=seal) == []  # the content counts, not the place
    (other / "config.json").write_bytes(b"[]")
    seal_folder(other)
    assert faults(other) == []
    assert "is not the folder that was written here" in faults(other, seal=seal)[0]


def test_a_folder_may_be_sealed_again(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "model")
    first = seal_of(folder)
    (folder / "more").write_text("x")
    assert seal_folder(folder) == seal_of(folder) != first
    assert faults(folder) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*FILES, MANIFEST]), st.sampled_from(list(DAMAGES)), st.integers(0, 2**32))
def test_any_damage_is_found(tmp_path: Path, name: str, damage: str, seed: int) -> None:
    folder = sealed(tmp_path / "model")
    try:
        changed = DAMAGES[damage](folder / name, random.Random(seed))
        assert bool(faults(folder)) == changed
    finally:
        shutil.rmtree(folder)
