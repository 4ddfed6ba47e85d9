"""The journal and the atomic replacement under kills, damage and a full disk."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perbench.disk.digests import read_bytes, read_sha256
from perbench.disk.files import append_journal, cut_torn, read_journal, replacing, write_json, write_text
from perbench.errors import PerbenchError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=4)
IN_TMP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@IN_TMP
@given(rows=ROWS)
def test_journal_keeps_every_row_whatever_its_text(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "samples.jsonl"
    path.unlink(missing_ok=True)
    for row in rows:
        append_journal(path, [row])
    assert read_journal(path).rows == rows
    assert read_journal(path).torn == 0


@IN_TMP
@given(rows=ROWS, data=st.data())
def test_a_kill_at_any_byte_costs_at_most_the_last_line(
    tmp_path: Path, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = tmp_path / "samples.jsonl"
    path.unlink(missing_ok=True)
    append_journal(path, rows)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)), label="bytes that reached the disk")
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    journal = cut_torn(path)
    assert journal.rows == rows[:whole]
    assert (journal.torn > 0) == (not content[:cut].endswith(b"\n") and cut > 0)
    append_journal(path, rows[whole:])
    assert path.read_bytes() == content


def test_every_byte_of_one_file_in_turn(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "zwei\nZeilen — é \ud83d"}, {"id": "b", "n": [1, 2.5, None]}]
    path = tmp_path / "samples.jsonl"
    append_journal(path, rows)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert cut_torn(path).rows == rows[: int(cut >= first)]
        assert path.read_bytes() == content[: first if cut >= first else 0]


def test_a_last_line_of_zeros_left_by_a_power_cut_is_torn_too(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"id": 1}\n' + b"\0" * 7 + b"\n")
    assert cut_torn(path).torn == 8
    assert path.read_bytes() == b'{"id": 1}\n'


@pytest.mark.parametrize("damage", [b"\n", b"[1]\n", b"{oops}\n", b"\xff\xfe\n", b'{"a": 1}{"b": 2}\n'])
def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    content = b'{"id": 1}\n' + damage + b'{"id": 2}\n'
    path.write_bytes(content)
    with pytest.raises(PerbenchError, match=r"samples\.jsonl:2: .*delete the folder"):
        cut_torn(path)
    assert path.read_bytes() == content


def test_not_a_number_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    append_journal(path, [{"id": 1}])
    with pytest.raises(ValueError, match="Out of range float"):
        append_journal(path, [{"id": 2}, {"score": float("nan")}])
    assert read_journal(path).rows == [{"id": 1}]


def test_a_full_disk_during_append_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.jsonl"
    append_journal(path, [{"id": 1}])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # by then the bytes are in the file
        with pytest.raises(OSError, match="No space left"):
            append_journal(path, [{"id": 2}, {"id": 3}])
    assert path.read_bytes() == b'{"id": 1}\n'
    append_journal(path, [{"id": 2}])
    assert [row["id"] for row in read_journal(path).rows] == [1, 2]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_replacement_keeps_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "cell.json"
    write_json(path, {"old": True})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        with pytest.raises(OSError, match="No space left"):
            write_json(path, {"new": True})
    assert json.loads(path.read_text()) == {"old": True}
    assert [file.name for file in tmp_path.iterdir()] == ["cell.json"]


def test_processes_with_one_id_write_one_file_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in two containers that share a cache: each counts its processes from 1.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "reply.json"
    with replacing(path) as first:
        first.write_text("first")
        write_text(path, "second, which is done before")
        assert path.read_text() == "second, which is done before"
    assert path.read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["reply.json"]


@pytest.mark.parametrize("read", [read_bytes, read_sha256])
def test_a_folder_in_place_of_a_file_is_named(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as found:
        read(tmp_path)
    assert found.value.filename == str(tmp_path)
