"""my_metric: describe in this line what it measures, for `perbench ls`; then the formula and its source."""

from __future__ import annotations

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts, mean_metric


class MyMetric(TextMetric):
    """The share of the reference's words missing from the answer; no score if the reference has none."""

    scale = Scale(better="lower", bounds=(0.0, 1.0))

    def measure(self, name: str, texts: Texts) -> Measured:
        values = [lacking(*pair) for pair in zip(texts.predictions, texts.references, strict=True)]
        why = ["no words in the reference"] * len(values)
        return Measured(mean_metric(values, texts.clusters, "my_metric|words:whitespace", why), values)


def lacking(answer: str, reference: str) -> float | None:
    words = set(reference.casefold().split())
    return len(words - set(answer.casefold().split())) / len(words) if words else None
