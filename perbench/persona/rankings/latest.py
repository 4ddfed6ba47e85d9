"""Ranks the newest items first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perbench.api import Example
from perbench.contracts.persona import Models, Ranking, Rankings
from perbench.errors import PerbenchError
from perbench.persona.times import times
from perbench.shapes.base import Strict


class Keys(Strict):
    time: str | None = None
    """The item field that holds its time, a number or a date (2012-05-31); None: items are listed oldest
    first."""


class Latest(Ranking[Keys]):
    Keys = Keys
    version = 1

    def item_fields(self) -> dict[str, str]:
        return {} if self.keys.time is None else {self.keys.time: ", which persona.time names"}

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        found = []
        for example in examples:
            try:
                found.append(latest(example.persona, self.keys.time))
            except PerbenchError as error:
                raise PerbenchError(f"example {example.id}: {error}") from None
        return found


def latest(items: Sequence[Mapping[str, Any]], time: str | None) -> list[int]:
    """Newest first, by the field `time`; of equal times, or without a field, later items are newer.

    Raises:
        PerbenchError: an item lacks the field, or its value is neither a number nor a date.
    """
    found = times(items, time)
    return sorted(range(len(items)), key=lambda place: (found[place], place), reverse=True)
