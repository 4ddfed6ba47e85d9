"""Draws an order for each example from its id: the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from perbench.api import Example
from perbench.contracts.persona import Models, Ranking, Rankings
from perbench.shapes.base import Strict


class Keys(Strict):
    seed: Annotated[int, Field(ge=0)] = 0
    """A run's seed has no effect."""


class Random(Ranking[Keys]):
    Keys = Keys
    version = 1

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        return [shuffled(len(example.persona), example.id, self.keys.seed) for example in examples]


def shuffled(count: int, example: str, seed: int) -> list[int]:
    """An order drawn for an example from its id: the same in every run."""
    return sorted(range(count), key=lambda n: hashlib.sha256(f"{seed}/{example}/{n}".encode()).digest())
