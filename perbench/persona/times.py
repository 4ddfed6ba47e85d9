"""When the items of a history were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perbench.errors import PerbenchError, suggest


def times(items: Sequence[Mapping[str, Any]], field: str | None) -> list[float]:
    """Of each item, by the field that `persona.time` names; without one, its place: oldest first.

    Raises:
        PerbenchError: an item lacks the field, or its value is not a number.
    """
    if field is None:
        return [float(place) for place in range(len(items))]
    return [_number(item, place, field) for place, item in enumerate(items)]


def _number(item: Mapping[str, Any], place: int, field: str) -> float:
    if field not in item:
        raise PerbenchError(f"persona item {place} has no field {field!r}.{suggest(field, map(str, item))}")
    try:
        return float(item[field])
    except (TypeError, ValueError):
        raise PerbenchError(
            f"persona item {place}: {field} is {item[field]!r}, not a number; set persona.time to another"
        ) from None
