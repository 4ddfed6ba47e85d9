"""Refuses what a model computes where it is no number: greedy decoding and sums go on without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from torch import Tensor


def check_finite(values: Tensor, what: str) -> None:
    """Raises:
    PerbenchError: `values`, which `what` names in the plural, hold NaN or an infinity.
    """
    if not bool(values.isfinite().all()):
        raise PerbenchError(
            f"the model's {what} are no numbers (NaN or infinity): its weights are damaged, or its values "
            "exceed its dtype, as often under float16; restore its files, or set dtype: float32 in the "
            "model's file"
        )


class Finite:
    """A logits processor for `generate` that changes nothing and refuses rows of logits, [E, V], that draw no
    token: the largest is no number. Padded vocabularies may hold -inf."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        check_finite(scores.amax(-1), "logits")
        return scores
