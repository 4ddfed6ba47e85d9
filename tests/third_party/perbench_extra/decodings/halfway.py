"""Between the distributions with the persona and without: the mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.base import NoKeys, Role
from perbench.contracts.decoding import Decoding, Pair
from perbench.contracts.engine import Engine, Generation
from perbench.shapes.sampling import SamplingSpec


class Halfway(Decoding[NoKeys]):
    def roles(self) -> Sequence[Role]:
        return [Role("subject", None, {"steer": "halfway of {model}, {what}, which shows no logits"})]

    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        told, untold = [one.factual for one in prompts], [one.counterfactual for one in prompts]
        return engine.steer(told, untold, sampling, combine=lambda a, b: (a + b) / 2, seed=seed)
