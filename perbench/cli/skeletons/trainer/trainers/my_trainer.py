"""my_trainer: describe the loss in this line, for `perbench ls`; then its source, by equation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from perbench.api import TokenBatch, Trainer

if TYPE_CHECKING:
    from torch import Tensor


class MyTrainer(Trainer):
    """Cross-entropy in which a token that the persona makes likelier counts `weight` times."""

    counterfactual = "no_grad"  # "none" without the persona-free pass, "grad" to train through it

    weight: Annotated[float, Field(gt=0)] = 2.0

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        logp = batch.factual.logp
        likelier = (logp > batch.counterfactual.logp).to(logp.dtype)
        weights = 1 + (self.weight - 1) * likelier
        return -weights * logp, weights
