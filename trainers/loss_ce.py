"""LossCE: cross-entropy over the tokens of each response whose (excess) loss is highest, after Rho-1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class LossCE(Trainer):
    """Mean of -log P(y_i | persona, x, y_<i) over the round(share * n) >= 1 tokens of each response that are
    highest in L - L_ref (Rho-1, arXiv 2404.07965, Eq. 3-5); of equal ones the earlier. L_ref is the loss
    under reference_model: "initial", a model's name, or None for 0. Rho-1 ranks a batch's tokens together."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.6
    reference_model: str | None = None

    def reference(self) -> str | None:
        return self.reference_model

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp, lengths = batch.factual.logp, batch.example.bincount()
        excess = (batch.reference.factual - logp if self.reference_model else -logp).detach()
        order = excess.argsort(descending=True, stable=True)
        order = order[batch.example[order].argsort(stable=True)]  # by response; in each, the highest first
        rank = order.argsort() - (lengths.cumsum(0) - lengths)[batch.example]
        kept = (rank < (self.share * lengths.double()).round().clamp(min=1)[batch.example]).to(logp.dtype)
        batch.watch("weight", kept, (0.0, 1.0))
        return -kept * logp, kept
