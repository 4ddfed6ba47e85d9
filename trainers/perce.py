"""PerCE: cross-entropy that weighs each token by what the persona adds to its log-prob (PerContrast)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class PerCE(Trainer):
    """(1/n) sum_i w_i (-log P(y_i | persona, x, y_<i)), w_i = clip(PIR_i, clip_min, clip_max) detached, under
    the model being trained (Eq. 2, 4, 5); `scale: ratio` clips exp(PIR_i) instead, as the prose reads."""

    counterfactual = "no_grad"

    clip_min: Annotated[float, Field(ge=0)] = 0.8
    clip_max: Annotated[float, Field(gt=0)] = 5.0
    scale: Literal["log", "ratio"] = "log"
    open_over: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training in which the bounds open, evenly, from 1 and 1 (plain cross-entropy)."""

    @classmethod
    def conflicts(cls, values: dict[str, Any]) -> list[tuple[str, str]]:
        low, high = values["clip_min"], values["clip_max"]
        return [("clip_min", f"clip_min={low} is above clip_max={high}")] if low > high else []

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.factual.logp
        shut = max(0.0, 1 - batch.progress / self.open_over) if self.open_over else 0.0
        low, high = (bound + shut * (1 - bound) for bound in (self.clip_min, self.clip_max))
        ratio = (logp - batch.counterfactual.logp).detach()
        weight = (ratio.exp() if self.scale == "ratio" else ratio).clamp(low, high)
        batch.watch("weight", weight, (low, high))
        return -weight * logp, logp.new_ones(logp.shape)
