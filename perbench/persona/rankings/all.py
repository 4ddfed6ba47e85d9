"""Keeps every item in the history's order, from the end that `priority` names."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.api import Example
from perbench.contracts.base import NoKeys
from perbench.contracts.persona import Models, Ranking, Rankings
from perbench.prompts.persona import by_priority


class All(Ranking[NoKeys]):
    reads = frozenset({"persona.priority"})
    keeps_order = True
    version = 1

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        return [by_priority(len(example.persona), self.spec) for example in examples]
