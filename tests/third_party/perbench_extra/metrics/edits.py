"""How much of an answer has to be changed to get the reference; 0 where nothing has."""

from __future__ import annotations

from difflib import SequenceMatcher

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts, mean_metric


class Edits(TextMetric):
    scale = Scale(better="lower", bounds=(0.0, 1.0))

    def measure(self, name: str, texts: Texts) -> Measured:
        pairs = zip(texts.predictions, texts.references, strict=True)
        values: list[float | None] = [1 - SequenceMatcher(None, *pair).ratio() for pair in pairs]
        return Measured(mean_metric(values, texts.clusters, "edits|1-ratio:characters"), values)
