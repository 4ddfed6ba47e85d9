"""When the items of a history were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from perbench.errors import PerbenchError, suggest


def times(items: Sequence[Mapping[str, Any]], field: str | None) -> list[float]:
    """Of each item, by the field that `persona.time` names; without one, its place: oldest first.

    Raises:
        PerbenchError: an item lacks the field, or its value is neither a number nor a date.
    """
    if field is None:
        return [float(place) for place in range(len(items))]
    return [_number(item, place, field) for place, item in enumerate(items)]


def _number(item: Mapping[str, Any], place: int, field: str) -> float:
    if field not in item:
        raise PerbenchError(f"persona item {place} has no field {field!r}.{suggest(field, map(str, item))}")
    value = item[field]
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return float(date.fromisoformat(value).toordinal())
    except (TypeError, ValueError):
        raise PerbenchError(
            f"persona item {place}: {field} is {value!r}, neither a number nor a date such as 2012-05-31; "
            "set persona.time to another"
        ) from None
