"""PerCE: cross-entropy that weighs each token by what the persona adds to its log-prob (PerContrast)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class PerCE(Trainer):
    """(1/n) sum_i w_i (-log P(y_i | persona, x, y_<i)), w_i = clip(PIR_i, clip_min, clip_max) detached,
    PIR_i from the model being trained (Eq. 2, 4, 5). Divided by n tokens, not by the sum of weights."""

    counterfactual = "no_grad"

    clip_min: Annotated[float, Field(ge=0)] = 0.8
    clip_max: Annotated[float, Field(gt=0)] = 5.0
    scale: Literal["log", "ratio"] = "log"
    """What is clipped: the log ratio, as Eq. 5 has it, or the likelihood ratio, as the prose says."""

    @classmethod
    def conflicts(cls, values: dict[str, Any]) -> list[tuple[str, str]]:
        low, high = values["clip_min"], values["clip_max"]
        return [("clip_min", f"clip_min={low} is above clip_max={high}")] if low > high else []

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.factual.logp
        ratio = (logp - batch.counterfactual.logp).detach()
        weight = (ratio.exp() if self.scale == "ratio" else ratio).clamp(self.clip_min, self.clip_max)
        return -weight * logp, logp.new_ones(logp.shape)
