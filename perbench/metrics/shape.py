"""Length in words and the share of answers that were cut: a metric's gain may be no more than these."""

from __future__ import annotations

from perbench.metrics.base import Measured, Texts, mean_metric


def measure(name: str, texts: Texts) -> Measured:
    """length: white-space separated words of the answer; truncated: 1 where it was cut at max_new_tokens."""
    values: list[float | None]
    if name == "length":
        values = [float(len(prediction.split())) for prediction in texts.predictions]
        return Measured(mean_metric(values, texts.clusters, "length|words:whitespace"), values)
    values = [float(cut) for cut in texts.truncated]
    return Measured(mean_metric(values, texts.clusters, "truncated|share"), values)
