"""Rankings, which select items of a history (`rankings/NAME.py`), and summarisers, which rewrite them
(`summarisers/NAME.py`)."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator

from perbench.contracts.base import Asked, K, Owner
from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER

if TYPE_CHECKING:
    import numpy as np

    from perbench.contracts.data import Example
    from perbench.contracts.engine import Engine
    from perbench.shapes.persona import PersonaSpec

Rankings = list[list[int]]


class Models(Protocol):
    """Models for building personas, by registry name; loaded on first use."""

    def encoder(self, name: str) -> Callable[[Sequence[str]], np.ndarray[Any, Any]]:
        """Texts -> vectors."""

    def summariser(self, name: str) -> tuple[str, Callable[[], Engine]]:
        """The model's identifier, and a function that loads it."""


def _groups(pattern: str | None) -> str | None:
    if pattern is None:
        return None
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if not groups:
        raise ValueError("put the parts that make the query into groups: (...)")
    return pattern


class Compared(Strict):
    """Keys of rankings that compare items with the request."""

    query_after: str | None = None
    """The query is the request's text after this marker, if the request holds it."""
    query_match: Annotated[str | None, LATER, AfterValidator(_groups)] = None
    """A regular expression: the query is what its groups match in the request, joined by blanks. If it does
    not match, `query_after` decides."""


COMPARES = frozenset({"persona.order", "fields.item_text"})


class Ranking(Owner[K]):
    """`reads` and `Keys` are those of `persona`; of an example, only its id, request and items are read."""

    spec: PersonaSpec
    reads = frozenset({"persona.order"})

    keeps_order: ClassVar[bool] = False
    """Whether kept items stay in the history's order; else they are ordered by rank and `persona.order`."""
    requires: ClassVar[tuple[str, str] | None] = None
    """An optional module, and the extra that installs it."""

    def item_fields(self) -> dict[str, str]:
        """Fields that every item must have: {"t": ", which persona.time names"}."""
        return {}

    @abstractmethod
    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        """For every example, the indices of its items, most important first. `text`: the template of the text
        that is compared with the request. May raise PerbenchError if an example's items lack a field."""


@dataclass(frozen=True)
class Rewritten:
    """The text that replaces each history, or ""; `counts` go into the record."""

    texts: list[str]
    counts: dict[str, int]


class Summariser(Owner[K]):
    spec: PersonaSpec

    @abstractmethod
    def rewrite(self, histories: Sequence[Sequence[str]], models: Models) -> Rewritten:
        """One text per history of rendered items."""

    @abstractmethod
    def asks(self, examples: Sequence[Example]) -> dict[str, Asked]:
        """Requests to its roles for these histories, at most."""

    @abstractmethod
    def longest(self) -> int:
        """Tokens of the longest text it makes, used in plans."""
