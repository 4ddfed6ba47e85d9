"""The share of answers that are the reference, case and outer punctuation aside; and its macro-F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perbench.contracts.metric import UNIT, Measured, TextMetric, Texts, mean_metric, summed_metric


def plain(text: str) -> str:
    return text.strip().strip(".!\"'").casefold()


class Agreement(TextMetric):
    names = ("agreement", "agreement_f1")

    def measure(self, name: str, texts: Texts) -> Measured:
        found = [plain(text) for text in texts.predictions]
        gold = [plain(text) for text in texts.references]
        if name == "agreement":
            values: list[float | None] = [float(a == b) for a, b in zip(found, gold, strict=True)]
            return Measured(mean_metric(values, texts.clusters, "agreement|normalised:casefold"), values)
        rows = _counts(found, gold)
        metric = summed_metric(
            lambda sums: self.of_sums(name, sums),
            rows,
            texts.clusters,
            scale=UNIT,
            n=len(found),
            signature="agreement_f1|normalised:casefold",
        )
        return Measured(metric, sums=rows.tolist())

    def of_sums(self, name: str, sums: np.ndarray) -> np.ndarray:
        """The mean F1 of the classes that are anyone's reference; nan without any."""
        parts = sums.reshape(len(sums), -1, 3)
        whole = parts[..., 1] + parts[..., 2]
        f1 = np.divide(2 * parts[..., 0], whole, out=np.zeros_like(whole), where=whole > 0)
        there = (parts[..., 2] > 0).sum(axis=1)
        return np.divide(f1.sum(axis=1), there, out=np.full(len(sums), np.nan), where=there > 0)


def _counts(found: Sequence[str], gold: Sequence[str]) -> np.ndarray:
    """Of each answer: hits, predicted, gold of each class."""
    classes = sorted(set(gold))
    rows = [
        [(a == b == one, a == one, b == one) for one in classes] for a, b in zip(found, gold, strict=True)
    ]
    return np.array(rows, dtype=float).reshape(len(found), 3 * len(classes))
