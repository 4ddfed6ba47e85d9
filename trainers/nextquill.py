"""NextQuill: cross-entropy of predictions and of the history's effect on them, weighed by causal effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from perbench.api import ReferenceLogp, TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class NextQuill(Trainer):
    """sum_t w_t (l(z_h, y_t) + alpha l(z_h - z_0, y_t)), Eq. 5-7, by examples (paper) or sum_t w_t;
    w_t = lam if p_h[y_t] - p_0[y_t] > delta, else eps, Eq. 3-4; p of effect_model: initial, live, a name."""

    counterfactual = "grad"
    delta: float = 0.05
    lam: Annotated[float, Field(ge=0)] = 0.9
    eps: Annotated[float, Field(ge=0)] = 0.1
    alpha: Annotated[float, Field(ge=0)] = 0.05
    effect_model: str = "initial"
    normalise: Literal["paper", "weight_sum"] = "weight_sum"
    detach_counterfactual: bool = False

    def reference(self) -> str | None:
        return None if self.effect_model == "live" or self.lam == self.eps else self.effect_model

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        effect = batch.difference_logp(detach_counterfactual=self.detach_counterfactual) if self.alpha else 0
        weight = (logp := batch.factual.logp).new_full(logp.shape, self.eps)
        if self.lam != self.eps:
            seen = batch.reference if self.reference() else ReferenceLogp(logp, batch.counterfactual.logp)
            weight[seen.factual.exp() - seen.counterfactual.exp() > self.delta] = self.lam
        batch.watch("weight", weight, (self.eps, self.lam))
        divisor = weight if self.normalise == "weight_sum" else 1 / batch.example.bincount()[batch.example]
        return -weight * (logp + self.alpha * effect), divisor
