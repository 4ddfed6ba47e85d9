"""Checks a record's keys and types against a shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perbench.errors import suggest


def faults(value: Any, shape: Any, where: str = "") -> Iterator[str]:
    """Faults of a value, one line each.

    A shape is a type (`float` accepts integers, `object` anything, None null), a tuple of alternative shapes,
    a list with the shape of all items, or a mapping of required keys to shapes.
    """
    if isinstance(shape, tuple):
        tried = [list(faults(value, option, where)) for option in shape]
        if all(tried):
            # Report the best alternative: the fewest faults, ties to the first.
            yield from min(tried, key=len)
    elif isinstance(shape, list):
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from faults(item, shape[0], f"{where}[{number}]")
        else:
            yield _wrong(where, "a list", value)
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield _wrong(where, "an object", value)
            return
        for key, inner in shape.items():
            if key in value:
                yield from faults(value[key], inner, f"{where}.{key}" if where else key)
            else:
                place = f"{where} has" if where else "the row has"
                yield f"{place} no key {key!r}.{suggest(key, map(str, value))}"
    elif not _fits(value, shape):
        yield _wrong(where, NAMES.get(shape, str(shape)), value)


NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", None: "null"}


def _fits(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)


def _wrong(where: str, wanted: str, value: Any) -> str:
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return f"{where or 'the row'} is {shown}, not {wanted}"
