"""How far two raters agree beyond chance."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perbench.stats.spread import Floats


def cohen_kappa(table: NDArray[Any], weights: Literal["none", "quadratic"] = "none") -> NDArray[np.float64]:
    """Kappa of contingency tables [..., K, K]: how often the first rater said category i where the second
    said j. Cohen 1960; with quadratic weights Cohen 1968: a disagreement counts (i - j)**2, so that 4 against
    5 is less of one than 1 against 5.

    Returns: [...]; nan where chance alone would give full agreement (both always said one category).
    """
    counts: Floats = np.asarray(table, dtype=np.float64)
    rank = np.arange(counts.shape[-1])
    apart = (rank[:, None] - rank) ** 2
    weight = (apart > 0).astype(np.float64) if weights == "none" else apart.astype(np.float64)
    n = counts.sum((-2, -1))
    by_chance = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :]
    found = np.full(counts.shape[:-2], np.nan)
    expected = (weight * by_chance).sum((-2, -1))
    np.divide(n * (weight * counts).sum((-2, -1)), expected, out=found, where=expected > 0)
    return 1 - found
