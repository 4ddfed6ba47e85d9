"""DEFT: a loss between cross-entropy and 1 - p, set for each token by how peaked the prediction is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class DEFT(Trainer):
    """(1/n) sum_i (1 - p_i^a_i) / (a_i + 1e-6), p_i = P(y_i | persona, x, y_<i), a_i = sum_v P(v | persona,
    x, y_<i)^2 detached (arXiv 2602.11424 and its code). a -> 0 is -log p, a = 1 is 1 - p; the gradient by
    the logits is p_i^a_i (P - onehot(y_i))."""

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp, focus = batch.factual.logp, batch.collision
        batch.watch("focus", focus, (0.0, 1.0))
        return -(focus * logp).expm1() / (focus + 1e-6), logp.new_ones(logp.shape)
