"""Rows are read strictly: what is wrong is named by file and line with the way out, before it does harm."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.data import lines
from perbench.data.jsonl import parse_row, read_jsonl
from perbench.data.values import mended, value_faults
from perbench.errors import SpecError

GOOD = b'{"a": 1}\n'


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (GOOD + b'{"a": [{"text": NaN}]}', 2, "NaN is not a JSON number; write null"),
        (GOOD + b'{"a": -Infinity}', 2, "-Infinity is not a JSON number"),
        (GOOD + b'{"a": 1e999}', 2, "1e999 is too large for a number"),
        (GOOD + b'{"a": 1, "b": {"c": 1, "c": 2}}', 2, "key 'c' appears twice in one object; remove one"),
        (GOOD + b'{"a": ' + b"9" * 5000 + b"}", 2, "a number of more than 4,300 digits; write it as a text"),
        (GOOD + b'{"a": ["beans \\ud83d yes"]}', 2, "field 'a' holds '\\ud83d', a lone surrogate"),
        (GOOD + b'{"\\udc00": 1}', 2, "a lone surrogate"),
        (GOOD + b'{"a": "\xe9"}', 2, "not UTF-8 (invalid continuation byte at byte 8 of the line)"),
        ('{"a": 1}\n'.encode("utf-16"), 1, "iconv -f UTF-16 -t UTF-8 rows.jsonl"),
        (b"user,ask,answer\nann,where?,here\n", 1, "looks like CSV; write each row as a JSON object"),
        (b"user\task\nann\twhere?\n", 1, "looks like CSV"),
        (b'\n[{"a": 1},\n {"a": 2}]\n', 2, "write its objects one per line: jq -c '.[]' rows.jsonl"),
        (b'{\n"a": 1\n}\n', 1, "an object over several lines; write one per line: jq -c . rows.jsonl"),
        (b'"text"\n', 1, "a row is a JSON object, not str"),
        (GOOD + b"[1]\n", 2, "a row is a JSON object, not list"),
        (GOOD + b"a,b\n", 2, "not JSON: Expecting value, at character 1"),
    ],
)  # fmt: skip
def test_a_file_at_fault_is_named_by_line(content: bytes, line: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        read_jsonl(path)
    (problem,) = error.value.problems
    assert (problem.path, problem.line) == (path, line)
    assert said.replace("rows.jsonl", str(path)) in problem.message


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_command_that_converts_a_table_does(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "own notes.jsonl"
    path.write_text(f'user{mark}ask\nann{mark}"where{mark}, or; when?"\n')
    with pytest.raises(SpecError) as error:
        read_jsonl(path)
    command = error.value.problems[0].message.partition(": ")[2].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    (row,) = read_jsonl(tmp_path / "ROWS.jsonl")
    assert row.fields == {"user": "ann", "ask": f"where{mark}, or; when?"}


def test_a_line_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(GOOD)
        file.truncate(10 * lines.MOST_BYTES)  # a hole of zeros, which takes no room on disk
    tracemalloc.start()
    with pytest.raises(SpecError, match=r"rows\.jsonl:2: a line of more than 16 MB"):
        read_jsonl(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * lines.MOST_BYTES


def test_the_longest_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_BYTES", len(GOOD))
    (tmp_path / "rows.jsonl").write_bytes(GOOD * 3)
    assert [row.line for row in read_jsonl(tmp_path / "rows.jsonl")] == [1, 2, 3]
    (tmp_path / "rows.jsonl").write_bytes(GOOD + GOOD.replace(b"1", b"12"))
    with pytest.raises(SpecError, match=r":2: a line of more than"):
        read_jsonl(tmp_path / "rows.jsonl")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans())
def test_what_json_can_say_is_read_as_it_is(row: dict[str, object], ascii_only: bool) -> None:
    assert parse_row(json.dumps(row, ensure_ascii=ascii_only)) == row
    assert [*value_faults(row)] == []
    assert mended(row) == row


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(), VALUES, max_size=3),
    st.sampled_from(["\ud800", "\udfff", float("nan"), float("-inf")]),
    st.integers(0, 3),
)
def test_what_no_file_can_hold_is_found_at_any_depth(row: dict[str, object], bad: object, depth: int) -> None:
    value = f"x{bad}y" if isinstance(bad, str) else bad
    for level in range(depth):
        value = [value] if level % 2 else {"inner": value}
    row = {**row, "bad": value}
    assert [fault.split()[1] for fault in value_faults(row)] == ["'bad'"]
    assert isinstance(parse_row(json.dumps(row)), list)
    if isinstance(bad, str):
        assert [*value_faults(mended(row))] == []
