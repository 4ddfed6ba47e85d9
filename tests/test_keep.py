"""Values by digest: the first stays, whoever writes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from perbench.keep import AT_ONCE, Keep


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


def test_what_is_put_is_found_and_never_replaced() -> None:
    keep = Keep("things")
    assert keep.get(["a"]) == {}
    keep.put({"a": b"1", "b": b""})
    keep.put({"a": b"2", "c": b"\x00"})
    assert Keep("things").get(["a", "b", "c", "d"]) == {"a": b"1", "b": b"", "c": b"\x00"}
    assert Keep("others").get(["a"]) == {}


def test_more_keys_than_one_query_takes() -> None:
    values = {str(number): str(number).encode() for number in range(2 * AT_ONCE + 1)}
    Keep("things").put(values)
    assert Keep("things").get([*values, "absent"]) == values


def _write(first: int) -> None:
    for number in range(first, first + 40):
        Keep("things").put({str(number): str(number).encode()})


def test_processes_write_side_by_side() -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write, args=(first,)) for first in (0, 20, 40)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    expected = {str(number): str(number).encode() for number in range(80)}
    assert Keep("things").get(list(expected)) == expected
