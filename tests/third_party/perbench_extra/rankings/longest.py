"""Long items first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from perbench.contracts.data import Example
from perbench.contracts.persona import COMPARES, Models, Ranking, Rankings
from perbench.persona.retrieve import by_score
from perbench.prompts.persona import rendered
from perbench.shapes.base import Strict


class LongestSpec(Strict):
    unit: Literal["words", "letters"] = "words"


class Keys(Strict):
    longest: LongestSpec = LongestSpec()


class Longest(Ranking[Keys]):
    Keys = Keys
    reads = COMPARES

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        return [by_score([self._length(item) for item in rendered(text, one)]) for one in examples]

    def _length(self, item: str) -> int:
        return len(item.split() if self.keys.longest.unit == "words" else item)
