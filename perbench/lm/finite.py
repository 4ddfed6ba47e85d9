"""Refuses NaN and infinities in a model's results, which greedy decoding and sums would silently accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from torch import Tensor


def check_finite(values: Tensor, what: str) -> None:
    """Raise a PerbenchError if `values`, named by `what` in the plural, hold NaN or an infinity."""
    if not bool(values.isfinite().all()):
        raise PerbenchError(
            f"the model's {what} are not finite (NaN or infinity): its weights are damaged, or its values "
            "exceed its dtype, as often under float16; restore its files, or set dtype: float32 in the "
            "model's file"
        )


class Finite:
    """A logits processor for `generate` that refuses rows of logits [E, V] whose maximum is not finite, and
    changes nothing. Padded vocabularies may hold -inf."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        check_finite(scores.amax(-1), "logits")
        return scores
