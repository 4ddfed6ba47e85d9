"""The precision-recall curve of scored units: its points, its area, and the threshold with the largest F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perbench.stats.spread import Floats

AT_ONCE = 64  # rows of [left out, units] held at once; some MiB for thousands of units


class Curve:
    """Units (tokens or words) of all responses, by descending score.

    `correct` [T]: whether the unit is right when predicted; `cluster` [T]: index of its cluster; `gold` [C]:
    number of gold units in each of C clusters. A gold unit that cannot be right (a token that crosses the
    edge of its gold span) is never found.
    """

    def __init__(
        self,
        scores: Sequence[float],
        correct: Sequence[bool],
        cluster: Sequence[int],
        gold: Floats | Sequence[int],
    ) -> None:
        order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
        self.scores: Floats = np.asarray(scores, dtype=np.float64)[order]
        self._correct: Floats = np.asarray(correct, dtype=np.float64)[order]
        self._cluster: NDArray[np.intp] = np.asarray(cluster, dtype=np.intp)[order]
        self._gold: Floats = np.asarray(gold, dtype=np.float64)
        # The last unit of each distinct score: equal scores are predicted together.
        self._ends = np.flatnonzero(np.diff(self.scores, append=-np.inf) != 0)

    def points(self) -> list[tuple[float, float]]:
        """(recall, precision) with all units of at least each distinct score predicted, the highest first;
        empty without gold."""
        whole = self._gold.sum()
        found = np.cumsum(self._correct)[self._ends]
        return (
            list(zip((found / whole).tolist(), (found / (self._ends + 1)).tolist(), strict=True))
            if whole
            else []
        )

    def average_precision(self) -> float | None:
        """Sum over the distinct scores, in descending order, of precision times the gain in recall: the area
        under the precision-recall curve without interpolation. None without gold."""
        value = float(self._averages(np.ones((1, len(self._gold))))[0])
        return None if np.isnan(value) else value

    def left_out(self) -> tuple[Floats, Floats]:
        """The average precision without each cluster [C], nan without gold; and the number of gold and
        predicted units of each cluster [C]."""
        users = len(self._gold)
        times = 1 - np.eye(users)
        values = [self._averages(times[s : s + AT_ONCE]) for s in range(0, users, AT_ONCE)]
        units = np.bincount(self._cluster, minlength=users) + self._gold
        return np.concatenate(values), units

    def best_threshold(self) -> float | None:
        """The threshold with the largest F1, half way to the next lower score, or below every score if all
        are predicted. Ties go to the highest. None if no unit can be right."""
        found = np.cumsum(self._correct)[self._ends]
        if not len(found) or not found[-1]:
            return None
        f1 = 2 * found / (self._ends + 1 + self._gold.sum())
        best = int(np.argmax(f1))
        value = float(self.scores[self._ends[best]])
        if best + 1 == len(f1):
            return value - 1.0
        below = float(self.scores[self._ends[best + 1]])
        middle = value / 2 + below / 2
        return middle if below <= middle < value else below

    def _averages(self, times: Floats) -> Floats:
        """Average precision [B] with each cluster weighted by `times` [B, C], 0 or 1; nan without gold."""
        weights = times[:, self._cluster]
        predicted = np.cumsum(weights, axis=1)[:, self._ends]
        found = np.cumsum(weights * self._correct, axis=1)[:, self._ends]
        gained = np.diff(found, axis=1, prepend=0.0)
        precision = np.divide(found, predicted, out=np.zeros_like(found), where=predicted > 0)
        gold = times @ self._gold
        values = np.full(len(times), np.nan)
        np.divide((precision * gained).sum(axis=1), gold, out=values, where=gold > 0)
        return values
