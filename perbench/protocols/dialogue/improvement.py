"""How a dialogue's ratings improve from turn to turn (ALOE, arXiv 2410.03642, section on metrics)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perbench.contracts.metric import summed_metric
from perbench.stats.spread import Floats
from perbench.store.record import Metric

NAMES = ("ir", "r2", "n_ir", "n_r2")


def improvement(
    values: Sequence[float | None], turns: Sequence[int], clusters: Sequence[str], signature: str
) -> dict[str, Metric]:
    """Least-squares fit of AL(k), the mean value at turn k, on k: `ir` is the slope and `r2` the coefficient
    of determination; `n_ir` and `n_r2` are those of AL(k) min-max normalised to [0, 1]. Each list has one
    entry per sample. `ir` has a 95% interval over users (personas). The others have none: with few personas,
    noise biases the values themselves, so that no interval around them is valid (docs/statistics.md, 4).

    Turns without any value are left out. `r2`, `n_ir` and `n_r2` are None if AL(k) is constant, and all four
    are with fewer than two turns.
    """
    kept = [i for i, value in enumerate(values) if value is not None]
    there = sorted({turns[i] for i in kept})
    rows = np.zeros((len(kept), 2, len(there)))
    for row, i in zip(rows, kept, strict=True):
        row[:, there.index(turns[i])] = values[i], 1

    def fits(sums: Floats) -> Floats:
        total, count = sums.reshape(-1, 2, len(there)).transpose(1, 0, 2)
        levels = np.full_like(total, np.nan)
        np.divide(total, count, out=levels, where=count > 0)
        return fit_lines(levels, np.array(there, dtype=np.float64))

    whole = rows.reshape(len(kept), 2 * len(there))
    once = fits(whole.sum(axis=0)[None])[:, 0] if len(there) > 1 else np.full(len(NAMES), np.nan)
    counted: dict[str, Any] = {"n": len(kept), "missing": len(values) - len(kept)}
    lines = f"least squares on turns {there[0]}-{there[-1]}|{signature}" if there else ""
    found = {
        name: Metric(
            value=None if np.isnan(value) else float(value),
            users=len({clusters[i] for i in kept}),
            signature=f"{name}|{lines}" if there else name,
            **counted,
        )
        for name, value in zip(NAMES, once, strict=True)
    }
    if len(there) > 1:
        found["ir"] = summed_metric(
            lambda sums: fits(sums)[0],
            whole,
            [clusters[i] for i in kept],
            signature=found["ir"].signature,
            **counted,
        )
    return found


def fit_lines(levels: Floats, turns: NDArray[np.float64]) -> Floats:
    """[4, B]: slope and coefficient of determination of least-squares lines of levels [B, K] on turns [K],
    then the same of the levels min-max normalised by row; nan if undefined."""
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
