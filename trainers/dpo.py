"""DPO: raises the chosen answer's odds over the rejected one's, compared with the model before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class DPO(Trainer):
    """Mean over pairs of -log sigmoid(beta (d(chosen) - d(rejected))), d(y) = log P(y | persona, x) - log
    P_ref(y | persona, x), summed over the answer's tokens, its end included; P_ref is the model before
    training (arXiv 2305.18290, Eq. 7)."""

    examples = "pairs"
    beta: Annotated[float, Field(gt=0)] = 0.1

    def reference(self) -> str | None:
        return "initial"

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        import torch
        from torch.nn.functional import logsigmoid

        gain = batch.factual.logp - batch.reference.factual
        number = batch.example.bincount()  # of tokens, by pair
        signed = torch.where(batch.rejected, -gain, gain)
        margin = self.beta * gain.new_zeros(len(number)).index_add(0, batch.example, signed)
        batch.watch("margin", margin.detach()[batch.example])
        share = (1 / number.to(gain.dtype))[batch.example]
        return -logsigmoid(margin)[batch.example] * share, share
