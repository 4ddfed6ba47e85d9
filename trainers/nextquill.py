"""NextQuill: cross-entropy of predictions and of the history's effect on them, weighed by causal effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    normalise: Literal["paper", "weight_sum", "example_weight_sum"] = "weight_sum"
    """example_weight_sum: the mean over examples of sum_t w_t l_t / sum_t w_t, as in the published code."""
    causal_weight: Literal["omega", "uniform"] = "omega"
    """uniform: the term of z_h - z_0 weighs every token alike, as in the published code."""
    detach_counterfactual: bool = False

    @classmethod
    def conflicts(cls, values: dict[str, Any]) -> list[tuple[str, str]]:
        if values["causal_weight"] == "omega" or values["normalise"] != "weight_sum":
            return []
        what = "causal_weight=uniform has no weights that normalise=weight_sum could divide its term by"
        return [("causal_weight", f"{what}; set normalise to paper or example_weight_sum")]

    def reference(self) -> str | None:
        return None if self.effect_model == "live" or self.lam == self.eps else self.effect_model

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        effect = batch.difference_logp(detach_counterfactual=self.detach_counterfactual) if self.alpha else 0
        weight = (logp := batch.factual.logp).new_full(logp.shape, self.eps)
        if self.lam != self.eps:
            seen = batch.reference if self.reference() else ReferenceLogp(logp, batch.counterfactual.logp)
            weight[seen.factual.exp() - seen.counterfactual.exp() > self.delta] = self.lam
        batch.watch("weight", weight, (self.eps, self.lam))
        number = batch.example.bincount().to(weight.dtype)  # of tokens, by example
        if self.normalise == "example_weight_sum":
            high = batch.example[weight == self.lam].bincount(minlength=len(number)).to(weight.dtype)
            total = self.lam * high + self.eps * (number - high)
            weight = weight / total.masked_fill(total == 0, 1)[batch.example]
        share = 1 / number[batch.example]
        divisor = weight if self.normalise == "weight_sum" else share
        if self.causal_weight == "omega":
            return -weight * (logp + self.alpha * effect), divisor
        causal = share if self.normalise == "example_weight_sum" else 1
        return -(weight * logp + self.alpha * causal * effect), divisor
