"""EntCE: cross-entropy that weighs each token by how uncertain the model is before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class EntropyCE(Trainer):
    """sum_i w_i (-log P(y_i | persona, x, y_<i)) / sum_i w_i, w_i the entropy in nats of
    P(. | persona, x, y_<i) under the model being trained, detached."""

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        weight = batch.entropy
        batch.watch("weight", weight)
        return -weight * batch.factual.logp, weight
