"""Samples from the model's distribution given the prompt with the persona."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from perbench.contracts.base import Inputs, NoKeys, Role
from perbench.contracts.decoding import Decoding, Pair
from perbench.contracts.engine import Engine, Generation, Seeds
from perbench.shapes.sampling import SamplingSpec


class Ordinary(Decoding[NoKeys]):
    together = True
    version = 1

    def roles(self) -> Sequence[Role]:
        return ()  # a model that only chats answers messages

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        return {}

    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        return engine.generate([prompt.factual for prompt in prompts], sampling, seed=seed)

    def stream(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Generation]]:
        return engine.stream([prompt.factual for prompt in prompts], sampling, seeds=seeds)
