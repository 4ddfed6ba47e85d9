"""Shapes of records: every fault with its place."""

from __future__ import annotations

from typing import Any

import pytest

from perbench.data.shape import faults

POST = {"content": str}
OLDER = {"output": str, "input": (str, None)}


@pytest.mark.parametrize(
    ("value", "shape", "told"),
    [
        ("a", str, []),
        (1, float, []),
        (True, int, ["the row is True, not a whole number"]),
        (None, (str, None), []),
        (3, (str, None), ["the row is 3, not a text"]),
        (3, object, []),
        ({"a": 1.5}, {"a": int}, ["a is 1.5, not a whole number"]),
        ({"nam": 1}, {"name": str}, ["the row has no key 'name'. Did you mean 'nam'? There are: nam."]),
        ([1], {"name": str}, ["the row is [1], not an object"]),
        ({"p": "x"}, {"p": [str]}, ["p is 'x', not a list"]),
        ({"p": ["x", 2, None]}, {"p": [str]}, ["p[1] is 2, not a text", "p[2] is None, not a text"]),
        ({"p": [{"content": "x"}, {"output": "x", "input": None}]}, {"p": [(POST, OLDER)]}, []),
        ({"p": [{"output": "x", "input": 1}]}, {"p": [(OLDER, POST)]}, ["p[0].input is 1, not a text"]),
        ({"p": [{"q": {"r": 1}}]}, {"p": [{"q": {"r": str}}]}, ["p[0].q.r is 1, not a text"]),
    ],
)  # fmt: skip
def test_faults(value: Any, shape: Any, told: list[str]) -> None:
    assert list(faults(value, shape)) == told
