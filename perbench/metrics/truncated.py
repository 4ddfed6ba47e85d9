"""The share of answers truncated at max_new_tokens."""

from __future__ import annotations

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts, mean_metric


class Truncated(TextMetric):
    scale = Scale(better=None, bounds=(0.0, 1.0))

    def measure(self, name: str, texts: Texts) -> Measured:
        """1 if the answer was truncated, else 0."""
        values: list[float | None] = [float(cut) for cut in texts.truncated]
        return Measured(mean_metric(values, texts.clusters, "truncated|share", scale=self.scale), values)
