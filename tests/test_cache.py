"""The user cache remembers hashes of files, and believes no entry that is not its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perbench.disk import digests
from perbench.disk.digests import file_sha256, forget_sha256, read_sha256


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


def test_what_is_forgotten_is_read_again(settled: Callable[[str], Path]) -> None:
    path = settled("one")
    (state, _) = digests.file_state(path)
    assert digests.REMEMBERED.get([state])
    forget_sha256(path)
    assert not digests.REMEMBERED.get([state])
    assert file_sha256(path) == read_sha256(path)
    assert digests.REMEMBERED.get([state])


def test_a_file_just_written_is_not_remembered(
    settled: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled("one")
    monkeypatch.setattr(digests, "SETTLED", 3600.0)
    monkeypatch.setattr(digests, "file_state", lambda path: ("the same", False))  # in one step of the clock
    assert file_sha256(path) == read_sha256(path)
    path.write_text("two")
    assert file_sha256(path) == read_sha256(path)
