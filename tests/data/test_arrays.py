"""JSON arrays are read item by item: any text, in pieces of any size, with the line of every item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.prepare import arrays
from perbench.prepare.arrays import NotJson, array_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    values=st.lists(VALUES, max_size=6),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 9),
)
def test_items_are_those_of_the_whole_text(
    values: list[Any],
    indent: int | None,
    ascii_only: bool,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    read: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "CHUNK", chunk)
        found = list(array_items(path, read.append))
    assert [value for _, value, _ in found] == values
    assert sum(read) == len(path.read_text(encoding="utf-8"))


def test_the_lines_of_items(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff\n[\n {"a":\n 1}, 23,\n\n "\\u00e9"]\n', encoding="utf-8")
    found = list(array_items(tmp_path / "a.json", lambda count: None))
    assert found == [(3, {"a": 1}, False), (4, 23, False), (6, "é", True)]


@pytest.mark.parametrize(
    ("text", "items", "line", "said"),
    [
        ("[", 0, 1, "Expecting value"),
        ('[{"a": 1},\n{"a": 2', 1, 2, "Expecting ','"),
        ('[{"a": 1}\n{"a": 2}]', 1, 2, "expected ,"),
        ('[{"a": 1,\n"a": 2}]', 0, 1, "'a' appears twice"),
        ("[1] [2]", 1, 1, "extra text"),
        ("[1,\n]", 1, 2, "Expecting value"),
        ("[1,\nNaN]", 1, 2, "NaN"),
        ('["' + "long " * 20, 0, 1, "more than"),
    ],
)
def test_faults_have_a_line(
    text: str, items: int, line: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 60)
    monkeypatch.setattr(arrays, "CHUNK", 4)
    (tmp_path / "a.json").write_text(text)
    found: list[Any] = []
    with pytest.raises(NotJson) as error:
        found.extend(array_items(tmp_path / "a.json", lambda count: None))
    assert len(found) == items
    assert error.value.line == line
    assert said in str(error.value)
