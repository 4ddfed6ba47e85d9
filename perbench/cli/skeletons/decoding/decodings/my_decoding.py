"""my_decoding: say in this line how tokens are drawn, for `perbench ls`; then the equation and its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from perbench.contracts.base import Role
from perbench.contracts.decoding import Decoding, Pair
from perbench.contracts.engine import Engine, Generation
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch import Tensor


class MyDecodingSpec(Strict):
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the logits without the persona."""


class Keys(Strict):
    my_decoding: MyDecodingSpec = MyDecodingSpec()


class MyDecoding(Decoding[Keys]):
    """log p = (1 - share) log p_c + share log p_nc up to a constant."""

    Keys = Keys

    def roles(self) -> Sequence[Role]:
        told = "my_decoding of {model}, {what}, which shows no logits; use a model on this machine"
        return [Role("subject", None, {"steer": told})]

    def work(self, prompt: Pair, answer: int) -> int:
        return len(prompt.factual) + len(prompt.counterfactual) + 2 * answer

    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        told, untold = [one.factual for one in prompts], [one.counterfactual for one in prompts]
        return engine.steer(told, untold, sampling, combine=self.combine, seed=seed)

    def combine(self, told: Tensor, untold: Tensor) -> Tensor:
        share = self.keys.my_decoding.share
        return (1 - share) * told + share * untold
