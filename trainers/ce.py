"""Cross-entropy over response tokens, given the persona: the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class CE(Trainer):
    """Mean over response tokens of -log P(y_i | persona, x, y_<i) (PerCE, Eq. 3, which omits the persona)."""

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.factual.logp
        return -logp, logp.new_ones(logp.shape)
