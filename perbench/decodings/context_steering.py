"""Context steering (CoS, arXiv 2405.01768): the distributions with the persona and without, contrasted.

log p = log p_c + lam (log p_c - log p_nc) up to a constant, of the next token with the persona (c) and
without (nc), before temperature and top_p.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.contracts.base import Role
from perbench.contracts.decoding import Decoding, Pair
from perbench.contracts.engine import Engine, Generation
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch import Tensor


class Keys(Strict):
    lam: float = 1.0
    """0 is the ordinary way, -1 leaves the persona out."""


class ContextSteering(Decoding[Keys]):
    Keys = Keys
    version = 1

    def roles(self) -> Sequence[Role]:
        told = (
            f"decoding.method {self.spec.method} of {{model}}, {{what}}, which shows no logits; use a model "
            "whose weights are on this machine"
        )
        return [Role("subject", None, {"steer": told})]

    def work(self, prompt: Pair, answer: int) -> int:
        return len(prompt.factual) + len(prompt.counterfactual) + 2 * answer

    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        told, untold = [one.factual for one in prompts], [one.counterfactual for one in prompts]
        return engine.steer(told, untold, sampling, combine=self.combine, seed=seed)

    def combine(self, told: Tensor, untold: Tensor) -> Tensor:
        """Logits [E, V]. The normalisers are the same for every token of a row: raw logits give the same
        distribution."""
        # A token that both contexts rule out (-inf) differs by nan, and stays ruled out.
        difference = (told - untold).nan_to_num(0.0, 0.0, 0.0)
        # As written, lam 0 leaves the logits with context as they are, to the last bit.
        return told + self.keys.lam * difference
