"""Words per answer, to see whether a gain in another metric comes from length alone."""

from __future__ import annotations

from types import MappingProxyType

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts, mean_metric
from perbench.text.scripts import UNSPACED_ANSWER, word_count


class Length(TextMetric):
    scale = Scale(better=None, bounds=(0.0, float("inf")))
    titles = MappingProxyType({"length": "length, words"})

    def measure(self, name: str, texts: Texts) -> Measured:
        """White-space separated words of the answer, None for a script without spaces."""
        values = [word_count(prediction) for prediction in texts.predictions]
        why = [UNSPACED_ANSWER] * len(values)
        return Measured(
            mean_metric(values, texts.clusters, "length|words:whitespace", why, scale=self.scale), values
        )
