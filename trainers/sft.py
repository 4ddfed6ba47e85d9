"""Cross-entropy over response tokens without the persona: fine-tuning without history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class SFT(Trainer):
    """Mean over response tokens of -log P(y_i | x, y_<i): the baseline SFT of NextQuill, Table 1."""

    factual = False
    counterfactual = "grad"

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.counterfactual.logp
        return -logp, logp.new_ones(logp.shape)
