"""Accuracy and macro F1 of answers that are one of a task's labels, as LaMP counts them (eval/evaluation.py).

An answer is a label if it is spelled exactly so, white space at its edges aside. Any other answer is wrong,
and is also counted apart. Macro F1 is the mean over all labels of the task: a label that is no reference has
F1 0, so a part of the data (`--limit`) can have a lower F1 than the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from perbench.contracts.metric import Measured, TextMetric, Texts, mean_metric, rows_metric
from perbench.disk.digests import canonical_digest
from perbench.errors import listed, suggest
from perbench.progress import counted
from perbench.shapes.base import Strict

if TYPE_CHECKING:
    from perbench.stats.spread import Floats

OUTSIDE = "reference outside the labels"


def _distinct(labels: list[str]) -> list[str]:
    if len(labels) < 2:
        raise ValueError(f"got {len(labels)}; give at least two labels")
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise ValueError(f"{twice[0]!r} is listed twice; remove one")
    if edged := [label for label in labels if label != label.strip() or not label]:
        raise ValueError(f"{edged[0]!r} is empty or has white space at its edges; answers are read without")
    return labels


class Keys(Strict):
    labels: Annotated[list[str], AfterValidator(_distinct)]
    """The answers that count, in any order."""


class Classes(TextMetric):
    Keys = Keys
    names = ("accuracy", "macro_f1")
    titles = MappingProxyType({"macro_f1": "macro F1"})

    def reference_faults(self, reference: str) -> Iterator[str]:
        labels: Sequence[str] = self.keys.labels
        if reference.strip() not in labels:
            yield (
                f"is {reference!r}, which is not among labels.{suggest(reference.strip(), labels)} "
                "Correct the row, or add it to labels"
            )

    def signature(self, name: str) -> str:
        labels = [*self.keys.labels]
        return f"{name}|exact|strip|labels:{len(labels)}-{canonical_digest(labels)[:12]}"

    def measure(self, name: str, texts: Texts) -> Measured:
        """Accuracy has a value per answer, macro F1 sums: of each label, hits, answers and references."""
        labels: Sequence[str] = self.keys.labels
        place = {label: number for number, label in enumerate(labels)}
        found = [place.get(text.strip()) for text in texts.predictions]
        gold = [place.get(text.strip()) for text in texts.references]
        scored = [number for number, one in enumerate(gold) if one is not None]
        unparsed = sum(found[number] is None for number in scored)
        notes = []
        if unparsed:
            notes.append(
                f"{unparsed} of {counted(len(scored), 'answer')} are none of the labels; they count as wrong"
            )
        why: list[str | None] = [OUTSIDE if one is None else None for one in gold]
        signature = self.signature(name)
        pairs = list(zip(found, gold, strict=True))
        counts = {"unparsed": unparsed}
        if name == "accuracy":
            values = [None if right is None else float(answer == right) for answer, right in pairs]
            metric = mean_metric(values, texts.clusters, signature, why, scale=self.scale)
            return Measured(metric, values, counts=counts, notes=notes)
        sums = [None if right is None else _row(answer, right, len(labels)) for answer, right in pairs]
        if scored and (bare := [label for label, number in place.items() if number not in gold]):
            notes.append(
                f"macro F1 is over all {len(labels)} labels; {len(bare)} of them are no reference here and "
                f"count 0: {listed(bare)}"
            )
        statistic = partial(self.of_sums, name)
        metric = rows_metric(statistic, sums, texts.clusters, signature, why, scale=self.scale)
        return Measured(metric, sums=sums, counts=counts, notes=notes)

    def of_sums(self, name: str, sums: Floats) -> Floats:
        """The mean over labels of 2 hits / (answers + references), 0 for a label without either."""
        import numpy as np

        hits, answers, references = np.moveaxis(sums.reshape(len(sums), -1, 3), -1, 0)
        whole = answers + references
        f1: Any = np.divide(2 * hits, whole, out=np.zeros_like(whole), where=whole > 0)
        return np.where(references.sum(axis=1) > 0, f1.mean(axis=1), np.nan)


def _row(answer: int | None, right: int | None, labels: int) -> list[float]:
    row = [0.0] * (3 * labels)
    for place, column in ((answer, 1), (right, 2)):
        if place is not None:
            row[3 * place + column] = 1.0
            row[3 * place] = float(answer == right)
    return row
