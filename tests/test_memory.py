"""The peak rises with what is held, stays when it is freed, and starts anew; freed memory can be kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perbench.lm import memory


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


ROUNDS = """
import ctypes, resource, sys
from perbench.lm.memory import keep_freed
if sys.argv[1] == "keep":
    keep_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [libc.malloc(10_000_000) for _ in range(10)]
    for place in held:
        libc.memset(place, 1, 10_000_000)
    for place in held:
        libc.free(place)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("way", ["as it is", "keep"])
def test_kept_memory_is_not_faulted_in_again(way: str) -> None:
    ran = subprocess.run([sys.executable, "-c", ROUNDS, way], capture_output=True, text=True, check=True)
    pages = 100_000_000 // 4096
    assert (int(ran.stdout) < pages / 100) == (way == "keep" and sys.platform == "linux")
