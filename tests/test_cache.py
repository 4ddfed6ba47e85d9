"""The user cache remembers hashes of files, and believes no entry that is not its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perbench.disk import digests
from perbench.disk.digests import read_sha256
from perbench.disk.folder import file_sha256
from perbench.disk.sealed import write_sealed


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A file whose hash is remembered from now on."""
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setattr(digests, "KNOWN", {})

    def make(text: str) -> Path:
        (tmp_path / "weights").write_text(text)
        file_sha256(tmp_path / "weights")
        digests.KNOWN.clear()  # as in another process
        return tmp_path / "weights"

    return make


def test_a_hash_is_remembered_and_the_file_not_read(
    settled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled("one")
    monkeypatch.setattr(digests, "read_sha256", lambda path: pytest.fail("it was read before"))
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
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "digest": digest}))
    else:
        write_sealed(entry, {"digest": digest}, "another")
    assert file_sha256(path) == read_sha256(path)
    assert json.loads(entry.read_text())["digest"] == read_sha256(path)  # mended


def test_a_file_just_written_is_not_remembered(
    settled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled("one")
    monkeypatch.setattr(digests, "SETTLED", 3600.0)
    monkeypatch.setattr(digests, "file_state", lambda path: ("the same", False))  # in one step of the clock
    assert file_sha256(path) == read_sha256(path)
    path.write_text("two")
    assert file_sha256(path) == read_sha256(path)
