"""Accuracy: the share of answers that are the reference, case and outer punctuation aside; and macro-F1."""

from __future__ import annotations

import numpy as np

from perbench.contracts.metric import Measured, TextMetric, Texts, mean_metric
from perbench.stats.intervals import bootstrap_interval, cluster_numbers
from perbench.store.record import Metric


def plain(text: str) -> str:
    return text.strip().strip(".!\"'").casefold()


class Accuracy(TextMetric):
    names = ("accuracy", "macro_f1")

    def measure(self, name: str, texts: Texts) -> Measured:
        found = [plain(text) for text in texts.predictions]
        gold = [plain(text) for text in texts.references]
        if name == "accuracy":
            values: list[float | None] = [float(a == b) for a, b in zip(found, gold, strict=True)]
            return Measured(mean_metric(values, texts.clusters, "accuracy|normalised:casefold"), values)
        return Measured(_macro_f1(found, gold, texts))


def _macro_f1(found: list[str], gold: list[str], texts: Texts) -> Metric:
    classes = sorted(set(gold))
    of, users = cluster_numbers(texts.clusters)
    counts = np.zeros((len(users), 3 * len(classes)))  # hits, predicted, gold of each class
    for user, a, b in zip(of, found, gold, strict=True):
        for place, one in enumerate(classes):
            counts[user, 3 * place : 3 * place + 3] += (a == b == one, a == one, b == one)

    def f1(sums: np.ndarray) -> np.ndarray:
        parts = sums.reshape(len(sums), len(classes), 3)
        whole = parts[..., 1] + parts[..., 2]
        return np.divide(2 * parts[..., 0], whole, out=np.zeros_like(whole), where=whole > 0).mean(axis=1)

    value = float(f1(counts.sum(axis=0, keepdims=True))[0]) if classes else None
    interval = bootstrap_interval(lambda times: f1(times @ counts), len(users), resamples=1000)
    return Metric(value=value, ci=interval, n=len(found), signature="macro_f1|normalised:casefold")
