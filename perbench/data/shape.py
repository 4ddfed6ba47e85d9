"""Whether a record has the keys and types that its reader needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perbench.errors import suggest


def faults(value: Any, shape: Any, where: str = "") -> Iterator[str]:
    """What is wrong with a value, a line for each fault.

    A shape is a type (`float` takes integers, too; `object` is anything; None is null), a tuple of shapes of
    which one must fit, a list of the one shape of all items, or a mapping of needed keys to their shapes.
    """
    if isinstance(shape, tuple):
        tried = [list(faults(value, option, where)) for option in shape]
        if all(tried):
            # The option that fits best: the fewest faults, the first of equals.
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
