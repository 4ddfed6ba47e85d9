"""perbench's metrics of single answers under lm-eval's names, for other tasks' `metric_list`.

Imported by lm-eval alone, which finds them by entry points in releases after 0.4.13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lm_eval.api.metrics  # noqa: F401  # registers "mean"
from lm_eval.api.registry import register_metric

from perbench.contracts.metric import Texts
from perbench.harness.tasks import PREFIX
from perbench.metrics import score_texts

NAMES = ("rouge1", "rouge2", "rougeL", "meteor")


def _metric(name: str) -> Callable[..., float]:
    def measure(references: Sequence[str], predictions: Sequence[str], **_: Any) -> float:
        texts = Texts(predictions, references, ["user"] * len(predictions), [False] * len(predictions))
        found = score_texts([name], texts).metrics[name].value
        return float("nan") if found is None else found

    measure.__name__ = measure.__qualname__ = PREFIX + name
    register_metric(
        metric=PREFIX + name, higher_is_better=True, output_type="generate_until", aggregation="mean"
    )(measure)
    return measure


perbench_rouge1, perbench_rouge2, perbench_rougeL, perbench_meteor = map(_metric, NAMES)
