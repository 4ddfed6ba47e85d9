"""What chooses the items of a history, and what rewrites them. One file in `rankings/` or `summarisers/`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from perbench.contracts.base import Asked, K, Owner
from perbench.shapes.base import Strict

if TYPE_CHECKING:
    import numpy as np

    from perbench.contracts.data import Example
    from perbench.contracts.engine import Engine
    from perbench.shapes.persona import PersonaSpec

Rankings = list[list[int]]


class Models(Protocol):
    """What personas are built with, by registry name; nothing is loaded before it is used."""

    def encoder(self, name: str) -> Callable[[Sequence[str]], np.ndarray[Any, Any]]:
        """Texts -> vectors."""

    def summariser(self, name: str) -> tuple[str, Callable[[], Engine]]:
        """What identifies the model, and what loads it."""


class Compared(Strict):
    """Keys of rankings that compare items with the request."""

    query_after: str | None = None
    """The query is the request's text after this marker, where it holds it."""


COMPARES = frozenset({"persona.order", "fields.item_text"})


class Ranking(Owner[K]):
    """`reads` and `Keys` are of `persona`; of an example, only its id, its request and its items are read."""

    spec: PersonaSpec
    reads = frozenset({"persona.order"})

    keeps_order: ClassVar[bool] = False
    """Whether the items that are kept stand as in the history; else by rank, as `persona.order` says."""
    requires: ClassVar[tuple[str, str] | None] = None
    """A module that perbench itself does not require, and the extra that installs it."""

    def item_fields(self) -> dict[str, str]:
        """Fields that every item must have: {"t": ", which persona.time names"}."""
        return {}

    @abstractmethod
    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        """Of every example's items the places, the most important first. `text`: the template of what is
        compared with the request. May raise PerbenchError, naming the example whose items lack what it
        reads."""


@dataclass(frozen=True)
class Rewritten:
    """What stands for each history, "" where nothing does; `counts` go into the record."""

    texts: list[str]
    counts: dict[str, int]


class Summariser(Owner[K]):
    spec: PersonaSpec

    @abstractmethod
    def rewrite(self, histories: Sequence[Sequence[str]], models: Models) -> Rewritten:
        """One text for each history of rendered items."""

    @abstractmethod
    def asks(self, examples: Sequence[Example]) -> dict[str, Asked]:
        """What its roles are asked about these histories, at most."""

    @abstractmethod
    def longest(self) -> int:
        """Tokens of the longest text it makes: stands in for it in plans."""
