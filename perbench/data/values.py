"""Checks that values of a row can be represented in UTF-8, pages and JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perbench.contracts.source import Row
from perbench.errors import PerbenchError, Problem, SpecError

MOST_PROBLEMS = 20


def numbered(place: str, rows: Iterable[Any]) -> list[Row]:
    """Mappings as the rows of `place`, numbered from 1.

    Raises:
        PerbenchError: one is not a mapping.
        SpecError: a value cannot be represented in UTF-8 or JSON.
    """
    found, faults = [], []
    for number, fields in enumerate(rows, start=1):
        if not isinstance(fields, Mapping):
            raise PerbenchError(f"{place}, row {number}: a row is a mapping, not {type(fields).__name__}")
        found.append(Row(place, number, fields))
        faults += [Problem(place, number, fault) for fault in value_faults(fields)]
    if faults:
        raise SpecError(faults[:MOST_PROBLEMS])
    return found


def value_faults(row: Mapping[str, Any]) -> Iterator[str]:
    """Faults of a row's fields: lone surrogates, NaN, infinities."""
    for name, value in row.items():
        for part in _parts([name, value]):
            if isinstance(part, float):
                yield f"field {name!r} holds {part}, which is not a JSON number; write null, or omit it"
            else:
                yield (
                    f"field {name!r} holds {part!r}, a lone surrogate (half a character), which UTF-8 cannot "
                    "represent; write the whole character, or omit it"
                )


def mended(value: Any) -> Any:
    """`value` with every lone surrogate in its texts replaced by U+FFFD."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {mended(key): mended(inner) for key, inner in value.items()}
    return [mended(inner) for inner in value] if isinstance(value, list) else value


def _parts(value: Any) -> Iterator[str | float]:
    """The first lone surrogate of every text, and every number that is not finite."""
    if isinstance(value, str):
        if not value.isascii() and (half := re.search("[\ud800-\udfff]", value)):
            yield half[0]
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _parts(pair)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _parts(part)
