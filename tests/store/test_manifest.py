"""Damage of a sealed file or folder is found, whatever it is and wherever it is."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perbench import cache
from perbench.cache import file_sha256
from perbench.digests import read_sha256
from perbench.store.manifest import (
    MANIFEST,
    Damaged,
    faults,
    read_sealed,
    seal_folder,
    seal_of,
    verify,
    write_sealed,
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


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(DAMAGES)), st.integers(0, 2**32))
def test_a_sealed_file_is_read_as_written_or_not_at_all(tmp_path: Path, damage: str, seed: int) -> None:
    value = {"text": "naïve \ud83d", "number": 1.5, "list": [None, True]}
    path = tmp_path / "value.json"
    write_sealed(path, value)
    assert read_sealed(path) == value
    DAMAGES[damage](path, random.Random(seed))
    with contextlib.suppress(ValueError, FileNotFoundError):
        assert read_sealed(path) == value  # a flip that JSON does not see, as of a blank


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seal": 0}', "remembered", "[" * 100_000, '{"a": NaN}'])
def test_what_is_no_sealed_object_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "value.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        read_sealed(tmp_path / "value.json")


# ---------------------------------------------------------------- the cache of hashes


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A file whose hash is remembered from now on."""
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SETTLED", -1.0)
    monkeypatch.setattr(cache, "_READ", {})

    def make(text: str) -> Path:
        (tmp_path / "weights").write_text(text)
        file_sha256(tmp_path / "weights")
        cache._READ.clear()  # as in another process
        return tmp_path / "weights"

    return make


def test_a_hash_is_remembered_and_the_file_not_read(
    settled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled("one")
    monkeypatch.setattr(cache, "read_sha256", lambda path: pytest.fail("it was read before"))
    # sha256("one"), by sha256sum
    assert file_sha256(path) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def test_a_change_of_neither_size_nor_mtime_is_seen(settled: Callable[[str], Path], tmp_path: Path) -> None:
    path = settled("one")
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert file_sha256(path) == read_sha256(path)
    swapped = tmp_path / "swapped"
    swapped.write_text("six")
    os.utime(swapped, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(swapped, path)
    assert file_sha256(path) == read_sha256(path)


@pytest.mark.parametrize("digest", ["remembered", "0" * 64, "0" * 63, None, 5])
@pytest.mark.parametrize("form", ["bare", "json", "sealed for another file"])
def test_no_text_in_an_entry_is_believed(
    settled: Callable[[str], Path], tmp_path: Path, digest: object, form: str
) -> None:
    path = settled("one")
    (entry,) = (tmp_path / "cache" / "sha256").iterdir()
    if form == "bare":
        entry.write_text(str(digest))
    elif form == "json":
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "sha256": digest}))
    else:
        write_sealed(entry, {"state": "another", "sha256": digest})
    assert file_sha256(path) == read_sha256(path)
    assert json.loads(entry.read_text())["sha256"] == read_sha256(path)  # mended


def test_a_file_just_written_is_not_remembered(
    settled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled("one")
    monkeypatch.setattr(cache, "SETTLED", 3600.0)
    monkeypatch.setattr(cache, "_state", lambda path: ("the same", False))  # within one step of the clock
    assert file_sha256(path) == read_sha256(path)
    path.write_text("two")
    assert file_sha256(path) == read_sha256(path)
