"""Mean absolute error and root mean squared error of ratings, as LaMP counts them (eval/evaluation.py).

An answer is read by Python's `float`. One that is not a number counts as the end of the scale that is farther
from its reference (the upper one, if both are equally far), and is also counted apart; so is, unlike in that
code, an answer whose error would not be a finite number ("nan", "inf", "1e300"). A number outside the scale
counts as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts, mean_metric, rows_metric
from perbench.progress import counted
from perbench.shapes.base import Strict

if TYPE_CHECKING:
    from perbench.stats.spread import Floats

MOST = 1e100
"""Larger numbers would overflow when squared and added."""
OUTSIDE = "reference outside the ratings"


def _ends(ends: list[float]) -> list[float]:
    if len(ends) != 2 or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
        raise ValueError(f"got {ends}; give the lowest and the highest rating: [1, 5]")
    return ends


class Keys(Strict):
    ratings: Annotated[list[float], AfterValidator(_ends)]
    """The lowest and the highest rating."""


class Ratings(TextMetric):
    Keys = Keys
    names = ("mae", "rmse")
    titles = MappingProxyType({"mae": "MAE", "rmse": "RMSE"})
    scale = Scale(better="lower", bounds=(0.0, float("inf")))

    def reference_faults(self, reference: str) -> Iterator[str]:
        if self._gold(reference) is None:
            low, high = self.keys.ratings
            yield (
                f"is {reference!r}, which is not a number from {low:g} to {high:g}, the task's ratings; "
                "correct the row, or ratings"
            )

    def _gold(self, reference: str) -> float | None:
        low, high = self.keys.ratings
        value = read(reference)
        return value if value is not None and low <= value <= high else None

    def signature(self, name: str) -> str:
        low, high = self.keys.ratings
        return f"{name}|float|unparsed:farther-end|scale:{low:g}-{high:g}"

    def measure(self, name: str, texts: Texts) -> Measured:
        """MAE has a value per answer, RMSE sums: the squared error, and 1."""
        low, high = self.keys.ratings
        gold = [self._gold(reference) for reference in texts.references]
        found = [read(prediction) for prediction in texts.predictions]
        errors: list[float | None] = []
        for answer, right in zip(found, gold, strict=True):
            if right is None:
                errors.append(None)
            else:
                read_as = farther(right, low, high) if answer is None else answer
                errors.append(abs(read_as - right))
        scored = [number for number, right in enumerate(gold) if right is not None]
        counts = {
            "unparsed": sum(found[number] is None for number in scored),
            "outside_scale": sum(_outside(found[number], low, high) for number in scored),
        }
        why = [OUTSIDE if right is None else None for right in gold]
        signature = self.signature(name)
        notes = _notes(counts, len(scored), low, high)
        if name == "mae":
            metric = mean_metric(errors, texts.clusters, signature, why, scale=self.scale)
            return Measured(metric, errors, counts=counts, notes=notes)
        sums = [None if error is None else [error**2, 1.0] for error in errors]
        statistic = partial(self.of_sums, name)
        metric = rows_metric(statistic, sums, texts.clusters, signature, why, scale=self.scale)
        return Measured(metric, sums=sums, counts=counts, notes=notes)

    def of_sums(self, name: str, sums: Floats) -> Floats:
        import numpy as np

        squared, count = sums.T
        mean = np.divide(squared, count, out=np.full(len(sums), np.nan), where=count > 0)
        root: Floats = np.sqrt(mean)
        return root


def read(text: str) -> float | None:
    """The number that a text is; None if it is none, or its square would overflow."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= MOST else None  # neither is nan


def farther(right: float, low: float, high: float) -> float:
    return low if abs(low - right) > abs(high - right) else high


def _outside(answer: float | None, low: float, high: float) -> bool:
    return answer is not None and not low <= answer <= high


def _notes(counts: dict[str, int], n: int, low: float, high: float) -> Sequence[str]:
    unparsed, outside = counts["unparsed"], counts["outside_scale"]
    of = f"of {counted(n, 'answer')}"
    notes = []
    if unparsed:
        notes.append(
            f"{unparsed} {of} are not numbers; each counts as {low:g} or {high:g}, the one farther from its "
            "reference"
        )
    if outside:
        notes.append(f"{outside} {of} are numbers outside {low:g} to {high:g}; they count as they are")
    return notes
