"""How a dialogue's ratings rise from turn to turn (ALOE, arXiv 2410.03642, section on metrics)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perbench.stats.intervals import Floats, bootstrap_interval, cluster_numbers
from perbench.store.record import Metric

NAMES = ("ir", "r2", "n_ir", "n_r2")


def improvement(
    values: Sequence[float | None], turns: Sequence[int], clusters: Sequence[str], signature: str
) -> dict[str, Metric]:
    """`ir`, the slope of the least-squares line of AL(k) on k, with AL(k) the mean value at turn k, and `r2`,
    its determination; `n_ir` and `n_r2` of AL(k) min-max normalised to [0, 1]. One entry per sample in each
    list. 95% bootstrap intervals, whole clusters (personas) resampled.

    Turns without any value are left out. `r2`, `n_ir` and `n_r2` are None where AL(k) is the same at all
    turns, and all are with fewer than two turns.
    """
    kept = [i for i, value in enumerate(values) if value is not None]
    of, names = cluster_numbers([clusters[i] for i in kept])
    there = sorted({turns[i] for i in kept})
    sums, counts = np.zeros((len(names), len(there))), np.zeros((len(names), len(there)))
    for i, cluster in zip(kept, of, strict=True):
        place = there.index(turns[i])
        sums[cluster, place] += values[i] or 0.0
        counts[cluster, place] += 1

    def fits(times: Floats) -> Floats:
        levels = np.full((len(times), len(there)), np.nan)
        drawn = times @ counts
        np.divide(times @ sums, drawn, out=levels, where=drawn > 0)
        return fit_lines(levels, np.array(there, dtype=np.float64))

    once = fits(np.ones((1, len(names))))[:, 0] if len(there) > 1 else np.full(len(NAMES), np.nan)
    return {
        name: Metric(
            value=None if np.isnan(once[row]) else float(once[row]),
            ci=bootstrap_interval(lambda times, row=row: fits(times)[row], len(names))  # type: ignore[misc]
            if len(there) > 1
            else None,
            n=len(kept),
            missing=len(values) - len(kept),
            signature=f"{name}|least squares on turns {there[0]}-{there[-1]}|{signature}" if there else name,
        )
        for row, name in enumerate(NAMES)
    }


def fit_lines(levels: Floats, turns: NDArray[np.float64]) -> Floats:
    """[4, B]: slope and determination of the least-squares lines of levels [B, K] on turns [K], then of the
    levels min-max normalised row by row; nan where undefined."""
    lowest = levels.min(axis=1, keepdims=True)
    span = levels.max(axis=1, keepdims=True) - lowest
    normalised = np.full_like(levels, np.nan)
    np.divide(levels - lowest, span, out=normalised, where=span > 0)
    return np.stack([*_line(levels, turns), *_line(normalised, turns)])


def _line(levels: Floats, turns: NDArray[np.float64]) -> tuple[Floats, Floats]:
    x = turns - turns.mean()
    y = levels - levels.mean(axis=1, keepdims=True)
    slope = y @ x / (x @ x)
    whole = (y**2).sum(axis=1)
    determination = np.full(len(levels), np.nan)
    np.divide(slope**2 * (x @ x), whole, out=determination, where=levels.max(axis=1) > levels.min(axis=1))
    return slope, determination
