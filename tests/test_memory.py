"""The peak rises with what is held, stays when it is freed, and starts anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench import memory


def test_peak_of_a_piece_of_work() -> None:
    memory.reset_peak()
    before = memory.peak_mb()
    held = bytearray(b"x") * 400_000_000
    assert len(held) == 400_000_000
    del held
    assert 350 < memory.peak_mb() - before < 600
    if memory.CLEAR.exists():
        memory.reset_peak()
        assert memory.peak_mb() < before + 100


def test_systems_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "clear_refs")
    memory.reset_peak()
    assert not (tmp_path / "clear_refs").exists()
    assert memory.peak_mb() > 10


def test_a_sandbox_that_refuses_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "CLEAR", tmp_path)  # a folder: writing to it is an OSError
    memory.reset_peak()
    assert memory.peak_mb() > 10
