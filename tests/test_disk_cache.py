"""Values by digest: the first stays, whoever writes."""

from __future__ import annotations

import errno
import multiprocessing
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from perbench.disk import cache as cache_module
from perbench.disk.cache import AT_ONCE, DiskCache
from perbench.errors import PerbenchError
from tests.damage import DAMAGES


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


def test_what_is_put_is_found_and_never_replaced() -> None:
    cache = DiskCache("things")
    assert cache.get(["a"]) == {}
    cache.put({"a": b"1", "b": b""})
    cache.put({"a": b"2", "c": b"\x00"})
    assert DiskCache("things").get(["a", "b", "c", "d"]) == {"a": b"1", "b": b"", "c": b"\x00"}
    assert DiskCache("others").get(["a"]) == {}


def test_what_is_dropped_is_made_anew() -> None:
    cache = DiskCache("things")
    cache.drop(["a"])
    assert not cache.path.exists()
    cache.put({"a": b"1", "b": b"2"})
    cache.drop(["a", "absent"])
    cache.put({"a": b"3"})
    assert cache.get(["a", "b"]) == {"a": b"3", "b": b"2"}


def test_more_keys_than_one_query_takes() -> None:
    values = {str(number): str(number).encode() for number in range(2 * AT_ONCE + 1)}
    DiskCache("things").put(values)
    assert DiskCache("things").get([*values, "absent"]) == values


def _write(first: int) -> None:
    for number in range(first, first + 40):
        DiskCache("things").put({str(number): str(number).encode()})


def test_processes_write_side_by_side() -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write, args=(first,)) for first in (0, 20, 40)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    expected = {str(number): str(number).encode() for number in range(80)}
    assert DiskCache("things").get(list(expected)) == expected


HOLD = """
import sqlite3, sys
table = sqlite3.connect(sys.argv[1])
table.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_file_that_another_process_holds_is_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache("things")
    cache.put({"a": b"1"})
    monkeypatch.setattr(cache_module, "WAIT", 0.01)
    words = [sys.executable, "-c", HOLD, str(cache.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            PerbenchError, match=r"things\.sqlite: database is locked.*run the same com"
        ) as told:
            cache.put({"b": b"2"})
        holder.communicate("\n")
    assert "elete" not in str(told.value)
    cache.put({"b": b"2"})
    assert cache.get(["a", "b"]) == {"a": b"1", "b": b"2"}


def test_a_full_disk_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache("things")
    cache.put({"a": b"1"})
    connect = sqlite3.connect

    def small(path: Path, timeout: float) -> sqlite3.Connection:
        table = connect(path, timeout=timeout)
        table.execute("PRAGMA max_page_count = 4")  # SQLite then fails as it does on a full disk
        return table

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(OSError, match=r"No space left on device: .*things\.sqlite") as told:
            cache.put({str(number): bytes(4000) for number in range(9)})
    assert told.value.errno == errno.ENOSPC
    assert cache.get(["a", "0"]) == {"a": b"1"}


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_gives_no_other_values(seed: int) -> None:
    cache, chance = DiskCache("things"), random.Random(seed)
    values = {f"{number:064d}": chance.randbytes(chance.randrange(200)) for number in range(60)}
    cache.put(values)
    DAMAGES[chance.choice(list(DAMAGES))](cache.path, chance)
    try:
        found = cache.get(list(values))
        assert found.items() <= values.items()
        cache.put(values)
        assert cache.get(list(values)).items() <= values.items()
    except PerbenchError as error:
        assert "things.sqlite" in str(error)  # noqa: PT017


@pytest.mark.parametrize("value", [b"", b"other", bytes(40), "text", None, 5])
def test_a_damaged_value_is_dropped_and_made_again(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    cache = DiskCache("things")
    cache.put({"a": b"1", "b": b"2"})
    with closing(sqlite3.connect(cache.path)) as table, table:
        table.execute("UPDATE sealed SET value = ? WHERE key = 'a'", [value])
    assert cache.get(["a", "b"]) == {"b": b"2"}
    assert "things.sqlite" in capsys.readouterr().err
    cache.put({"a": b"1"})
    assert cache.get(["a"]) == {"a": b"1"}


def test_a_value_under_another_key_is_damaged() -> None:
    cache = DiskCache("things")
    cache.put({"a": b"1", "b": b"2"})
    with closing(sqlite3.connect(cache.path)) as table, table:
        table.execute("UPDATE sealed SET value = (SELECT value FROM sealed WHERE key = 'b')")
    assert cache.get(["a", "b"]) == {"b": b"2"}


@pytest.mark.parametrize("start", [0, 8192])
def test_only_a_damaged_file_is_to_be_deleted(start: int) -> None:
    cache = DiskCache("things")
    cache.put({str(number): bytes(100) for number in range(200)})
    content = bytearray(cache.path.read_bytes())
    content[start : start + 4096] = b"?" * 4096
    cache.path.write_bytes(content)
    with pytest.raises(PerbenchError, match=r"things\.sqlite is damaged: .*delete the file"):
        cache.get([str(number) for number in range(200)])
    cache.path.unlink()
    cache.put({"a": b"1"})
    assert cache.get(["a"]) == {"a": b"1"}


def test_a_file_that_cannot_be_opened_is_named() -> None:
    cache = DiskCache("things")
    cache.path.mkdir(parents=True)
    with pytest.raises(PerbenchError, match=r"things\.sqlite: unable to open .*readable and writable"):
        cache.put({"a": b"1"})
