"""Values of a row that no file in UTF-8, no page or no JSON can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perbench.contracts.source import Row
from perbench.errors import PerbenchError, Problem, SpecError

MOST_PROBLEMS = 20


def numbered(place: str, rows: Iterable[Any]) -> list[Row]:
    """Mappings as the rows of `place`, by number from 1.

    Raises:
        PerbenchError: one is no mapping.
        SpecError: values that no file, page or JSON can hold.
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
    """What is wrong with a row's fields: half of a surrogate pair in a text, NaN or an infinity."""
    for name, value in row.items():
        for part in _parts([name, value]):
            if isinstance(part, float):
                yield f"field {name!r} holds {part}, which is no number in JSON; write null, or leave it out"
            else:
                yield (
                    f"field {name!r} holds {part!r}, a lone surrogate: half of a character, which is no text "
                    "in UTF-8; write the whole character, or leave it out"
                )


def mended(value: Any) -> Any:
    """`value` with U+FFFD in the place of every lone surrogate in its texts."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {mended(key): mended(inner) for key, inner in value.items()}
    return [mended(inner) for inner in value] if isinstance(value, list) else value


def _parts(value: Any) -> Iterator[str | float]:
    """The first lone surrogate of every text, and every number that is none."""
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
