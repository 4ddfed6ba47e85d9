"""Ranks by the similarity of an encoder's vectors of item and request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from perbench.api import Example
from perbench.contracts.base import Role
from perbench.contracts.persona import COMPARES, Compared, Models, Ranking, Rankings
from perbench.persona.retrieve import by_score, query_of
from perbench.prompts.persona import rendered
from perbench.shapes.fields import ModelName


class Keys(Compared):
    encoder: ModelName = "facebook/contriever"
    """An encoder's name; a text's vector is the mean of its last hidden states."""
    similarity: Literal["dot", "cosine"] = "dot"


class Dense(Ranking[Keys]):
    Keys = Keys
    reads = COMPARES
    version = 1

    def roles(self) -> Sequence[Role]:
        message = (
            "persona.encoder: {model} is {what}, which can only chat; name an encoder whose weights are on "
            "this machine"
        )
        return [Role("encoder", self.keys.encoder, {"vectors": message})]

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        from perbench.persona.dense import similarities

        keys = self.keys
        requests = [(query_of(one.question, keys), rendered(text, one)) for one in examples]
        scores = similarities(models.encoder(keys.encoder), requests, cosine=keys.similarity == "cosine")
        return [by_score(own) for own in scores]
