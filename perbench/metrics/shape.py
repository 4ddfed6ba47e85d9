"""Length in words and the share of answers that were cut: a metric's gain may be no more than these."""

from __future__ import annotations

from perbench.metrics.base import Measured, Texts, mean_metric
from perbench.metrics.scripts import UNSPACED_ANSWER, word_count


def measure(name: str, texts: Texts) -> Measured:
    """length: white-space separated words of the answer, None for a script without spaces; truncated: 1 where
    it was cut at max_new_tokens."""
    values: list[float | None]
    if name == "length":
        values = [word_count(prediction) for prediction in texts.predictions]
        why = [UNSPACED_ANSWER] * len(values)
        return Measured(mean_metric(values, texts.clusters, "length|words:whitespace", why), values)
    values = [float(cut) for cut in texts.truncated]
    return Measured(mean_metric(values, texts.clusters, "truncated|share"), values)
