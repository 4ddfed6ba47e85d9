"""The examples of a task, as given to protocols, trainers and identifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Example:
    """One row of a task: a user's request and history.

    `persona` holds the history's items in the task's order, each a mapping of its fields; `reference` is the
    user's own text (or the gold answer); `extra` holds fields for single protocols (gold spans). `rejected`:
    the answer that the user liked less than `reference`, for trainers of pairs; "" without one.
    """

    id: str
    user: str
    question: str
    reference: str
    persona: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    rejected: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """As JSON for digests and files: `rejected` only if there is one."""
        found = asdict(self)
        return found if self.rejected else {name: found[name] for name in found if name != "rejected"}


@dataclass(frozen=True)
class Offered:
    """The answers that an example offers, in its row's order, and the place of the right one; of rated
    answers, of the preferred one."""

    options: Sequence[str]
    gold: int


@dataclass(frozen=True)
class Dataset:
    """`digest`: sha256 over canonical JSON of `examples`, with shared fields (`data.shared`) once; `skipped`:
    reason -> number of rows left out; `source`: the origin of the rows, without machine paths; `places`:
    location of each example's row, by id; `whose`: the personas that the examples hold, after `digest` was
    made; `counts`: what the protocol counts in the examples' rows (`Protocol.row_counts`), for records."""

    examples: list[Example]
    digest: str
    skipped: dict[str, int] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    whose: str = "own"
    counts: dict[str, int] = field(default_factory=dict)
