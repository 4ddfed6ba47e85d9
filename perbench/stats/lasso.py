"""LASSO by coordinate descent, of many outcomes at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOLERANCE = 1e-10
MOST_ROUNDS = 10_000


def standardised_lasso(inputs: Floats, outcomes: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Weights [S, T] and intercepts [T], in units of `inputs`, of the LASSO on standardised columns: per
    outcome the minimum of ||y - Z v - b||^2 / (2 n) + alpha |v|_1.

    Equal to scikit-learn's `Lasso` behind its `StandardScaler`. A constant column has weight 0.

    Args:
        inputs: [n, S], n > 0; standardised by the population's standard deviation.
        outcomes: [n, T], finite.
    """
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    varied = spread > 0
    scale = np.where(varied, spread, 1.0)
    columns = (inputs - mean) / scale
    middle = outcomes.mean(axis=0)
    products = columns.T @ columns / len(inputs)
    slopes = columns.T @ (outcomes - middle) / len(inputs)
    weights = np.zeros_like(slopes)
    for _ in range(MOST_ROUNDS):
        largest = 0.0
        for one in np.flatnonzero(varied):
            rest = slopes[one] - products[one] @ weights + weights[one]  # the column's own product is 1
            new = np.sign(rest) * np.maximum(np.abs(rest) - alpha, 0.0)
            largest = max(largest, np.abs(new - weights[one]).max(initial=0.0))
            weights[one] = new
        if largest <= TOLERANCE * max(1.0, np.abs(weights).max(initial=0.0)):
            break
    weights = weights / scale[:, None]
    return weights, middle - mean @ weights
