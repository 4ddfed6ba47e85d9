"""The LASSO against scikit-learn's, and what holds at any minimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.stats.lasso import standardised_lasso


@pytest.mark.parametrize("sizes", [(64, 5, 12), (16, 40, 3), (8, 1, 1)])
@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_equals_scikit_learn(sizes: tuple[int, int, int], alpha: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rows, columns, outcomes = sizes
    draw = np.random.default_rng(3)
    inputs = draw.integers(0, 2, (rows, columns)).astype(float)
    inputs[:, 0] = 1.0 if columns > 1 else inputs[:, 0]  # a constant column
    y = inputs @ draw.normal(size=(columns, outcomes)) + draw.normal(size=(rows, outcomes))
    weights, bias = standardised_lasso(inputs, y, alpha)
    scaler = preprocessing.StandardScaler().fit(inputs)
    for one in range(outcomes):
        lasso = linear_model.Lasso(alpha=alpha, tol=1e-12, max_iter=10**6)
        lasso.fit(scaler.transform(inputs), y[:, one])
        expected = lasso.coef_ / scaler.scale_
        assert weights[:, one] == pytest.approx(expected, abs=1e-6)
        assert bias[one] == pytest.approx(lasso.intercept_ - scaler.mean_ @ expected, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 6), st.floats(0, 1))
def test_no_step_along_a_column_lowers_the_objective(
    seed: int, rows: int, columns: int, alpha: float
) -> None:
    draw = np.random.default_rng(seed)
    inputs, y = draw.integers(0, 2, (rows, columns)).astype(float), draw.normal(size=(rows, 1))
    weights, bias = standardised_lasso(inputs, y, alpha)
    spread = inputs.std(axis=0)

    def objective(w: np.ndarray, b: np.ndarray) -> float:
        errors = y - inputs @ w - b
        return float((errors**2).sum() / (2 * rows) + alpha * np.abs(w[:, 0] * spread).sum())

    best = objective(weights, bias)
    for place in range(columns):
        for step in (-1e-3, 1e-3):
            other = weights.copy()
            other[place] += step
            assert objective(other, bias - step * inputs[:, place].mean()) >= best - 1e-12
    assert not weights[spread == 0].any()
