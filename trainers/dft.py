"""DFT: cross-entropy that weighs each token by its own probability (Dynamic Fine-Tuning)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class DFT(Trainer):
    """(1/n) sum_i p_i (-log p_i), p_i = P(y_i | persona, x, y_<i) under the model being trained, detached
    where it weighs (arXiv 2508.05629). Its gradient by the logits is p_i (P - onehot(y_i))."""

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.factual.logp
        weight = logp.detach().exp()
        batch.watch("weight", weight, (0.0, 1.0))
        return -weight * logp, logp.new_ones(logp.shape)
