"""When the items of a history were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import isfinite
from typing import Any

from perbench.errors import PerbenchError, suggest


def times(items: Sequence[Mapping[str, Any]], field: str | None) -> list[float]:
    """Of each item, by the field that `persona.time` names; without one, its place: oldest first.

    Raises:
        PerbenchError: an item lacks the field, or its value is neither a number nor a date; or the field is a
            number in one item and a date in another, which have no order.
    """
    if field is None:
        return [float(place) for place in range(len(items))]
    found = [_time(item, place, field) for place, item in enumerate(items)]
    kinds = [is_date for _, is_date in found]
    if len(set(kinds)) > 1:
        number, day = kinds.index(False), kinds.index(True)
        raise PerbenchError(
            f"{field} is the number {items[number][field]!r} in persona item {number} and the date "
            f"{items[day][field]!r} in item {day}; write all in one form, or set persona.time to another"
        )
    return [value for value, _ in found]


def _time(item: Mapping[str, Any], place: int, field: str) -> tuple[float, bool]:
    """The value, and whether it is a date."""
    if field not in item:
        raise PerbenchError(f"persona item {place} has no field {field!r}.{suggest(field, map(str, item))}")
    value = item[field]
    try:
        number = float(value)
    except (TypeError, ValueError):
        pass
    else:
        if isfinite(number):
            return number, False
    try:
        return float(date.fromisoformat(value).toordinal()), True
    except (TypeError, ValueError):
        raise PerbenchError(
            f"persona item {place}: {field} is {value!r}, neither a number nor a date such as 2012-05-31; "
            "set persona.time to another"
        ) from None
