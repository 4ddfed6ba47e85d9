"""my_decoding: describe in this line how tokens are decoded, for `perbench ls`; then the equation's
source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from perbench.contracts.base import Role
from perbench.contracts.decoding import Decoding, Pair
from perbench.contracts.engine import Engine, Generation, Seeds
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch import Tensor


class MyDecodingSpec(Strict):
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the logits without the persona."""


class Keys(Strict):
    my_decoding: MyDecodingSpec = MyDecodingSpec()


class MyDecoding(Decoding[Keys]):
    """log p = (1 - share) log p_c + share log p_nc up to a constant."""

    Keys = Keys
    together = True  # `seed` is passed on as it came

    def roles(self) -> Sequence[Role]:
        message = "my_decoding needs logits, but {model} is {what}, which gives none; use a local model"
        return [Role("subject", None, {"steer": message})]

    def work(self, prompt: Pair, answer: int) -> int:
        return len(prompt.factual) + len(prompt.counterfactual) + 2 * answer

    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        factual, counterfactual = [one.factual for one in prompts], [one.counterfactual for one in prompts]
        return engine.steer(factual, counterfactual, sampling, combine=self.combine, seed=seed)

    def combine(self, factual: Tensor, counterfactual: Tensor) -> Tensor:
        share = self.keys.my_decoding.share
        return (1 - share) * factual + share * counterfactual
