"""Recurrent summarisation (LLM-TRSR, Zheng et al. 2024): a summary, renewed with each block of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perbench.api import Example
from perbench.contracts.base import Asked, Role
from perbench.contracts.persona import Models, Rewritten, Summariser
from perbench.shapes.base import Strict
from perbench.shapes.fields import ModelName
from perbench.shapes.templates import Count


class SummarySpec(Strict):
    """`model` summarises the first `block` items, then renews its summary with each further block."""

    model: ModelName
    block: Count = 5
    max_new_tokens: Count = 256
    item_words: Count = 400
    """Words of an item that the summariser reads; what is cut off is counted."""


class Keys(Strict):
    summary: SummarySpec


class Recurrent(Summariser[Keys]):
    Keys = Keys
    version = 1

    def roles(self) -> Sequence[Role]:
        return [Role("summariser", self.keys.summary.model)]

    def inputs(self, helpers: Mapping[str, Any]) -> dict[str, Any]:
        from perbench.persona.summary import WORDING

        found = super().inputs(helpers)
        return {"summary": {**found["summary"], "method": "recurrent", "wording": WORDING}}

    def longest(self) -> int:
        return self.keys.summary.max_new_tokens

    def asks(self, examples: Sequence[Example]) -> dict[str, Asked]:
        from perbench.persona.summary import NEXT
        from perbench.prompts.messages import estimated

        spec, asked = self.keys.summary, Asked()
        for example in examples:
            items = example.persona[: self.spec.k]
            times = -(-len(items) // spec.block)
            texts = sum(estimated(str(value)) for item in items for value in item.values())
            told = times * (estimated(NEXT) + spec.max_new_tokens)
            asked += Asked(times, texts + told, times * spec.max_new_tokens)
        return {"summariser": asked}

    def rewrite(self, histories: Sequence[Sequence[str]], models: Models) -> Rewritten:
        from perbench.persona.summary import summarise

        digest, engine = models.summariser(self.keys.summary.model)
        found = summarise(histories, self.keys.summary, digest, engine)
        return Rewritten(
            [one.text for one in found],
            {
                "summaries": sum(bool(one.text) for one in found),
                "summaries_truncated": sum(one.truncated for one in found),
                "persona_items_cut": sum(one.cut for one in found),
            },
        )
