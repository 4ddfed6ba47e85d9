"""LongCE: cross-entropy that weighs each token by how much likelier the persona makes it (LongPPL)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class LongCE(Trainer):
    """(1/n) sum_i w_i (-log P(y_i | persona, x, y_<i)), w_i = min(exp(loss_short - loss_full), gamma)
    detached (arXiv 2410.23771); the short context is the one without the persona."""

    counterfactual = "no_grad"
    gamma: Annotated[float, Field(gt=0)] = 5.0

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.factual.logp
        weight = (logp - batch.counterfactual.logp).detach().exp().clamp(max=self.gamma)
        batch.watch("weight", weight, (0.0, self.gamma))
        return -weight * logp, logp.new_ones(logp.shape)
