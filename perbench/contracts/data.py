"""What protocols, trainers and identifiers are given: the examples of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Example:
    """One row of a task: a user's request with the user's history.

    `persona` holds the history's items in the task's order, each a mapping of its fields; `reference` is the
    text the user really wrote (or the gold answer); `extra` keeps what only one protocol reads (gold spans).
    """

    id: str
    user: str
    question: str
    reference: str
    persona: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """`digest`: sha256 over canonical JSON of `examples`, what all share (`data.shared`) once; `skipped`:
    reason -> rows left out; `source`: where the rows come from, without a machine's paths; `places`: of every
    example's id, where its row is."""

    examples: list[Example]
    digest: str
    skipped: dict[str, int] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
