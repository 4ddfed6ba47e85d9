"""Context steering (CoS, arXiv 2405.01768): contrasts the distributions with and without the persona.

log p = log p_c + lam (log p_c - log p_nc) up to a constant, for the next token with the persona (c) and
without (nc), before temperature and top_p.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.contracts.base import Role
from perbench.contracts.decoding import Decoding, Pair
from perbench.contracts.engine import Engine, Generation, Seeds
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch import Tensor


class Keys(Strict):
    lam: float = 1.0
    """0 is ordinary decoding; -1 ignores the persona."""


class ContextSteering(Decoding[Keys]):
    Keys = Keys
    together = True
    version = 1

    def roles(self) -> Sequence[Role]:
        message = (
            f"decoding.method {self.spec.method} needs logits, but {{model}} is {{what}}, which gives none; "
            "use a model whose weights are on this machine"
        )
        return [Role("subject", None, {"steer": message})]

    def work(self, prompt: Pair, answer: int) -> int:
        return len(prompt.factual) + len(prompt.counterfactual) + 2 * answer

    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        factual, counterfactual = [one.factual for one in prompts], [one.counterfactual for one in prompts]
        return engine.steer(factual, counterfactual, sampling, combine=self.combine, seed=seed)

    def combine(self, factual: Tensor, counterfactual: Tensor) -> Tensor:
        """Logits [E, V]. Log-normalisers are constant within a row, so raw logits give the same
        distribution."""
        # The difference is nan where both are -inf; such a token stays excluded.
        difference = (factual - counterfactual).nan_to_num(0.0, 0.0, 0.0)
        # In this form, lam 0 returns the factual logits bit for bit.
        return factual + self.keys.lam * difference
