"""Cohen's kappa by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perbench.stats.kappa import cohen_kappa


def test_two_categories_by_hand() -> None:
    # Agreement 35/50 = 0.7; by chance 25/50 * 30/50 + 25/50 * 20/50 = 0.5: kappa 0.4.
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)


def test_quadratic_weights_by_hand() -> None:
    # Rows 2, 1, 1 and columns 1, 2, 1 of 4. Observed (i-j)^2: one cell of 1. By chance, times 4:
    # row 0: 2 * (0*1 + 1*2 + 4*1) = 12, row 1: 1*1 + 0*2 + 1*1 = 2, row 2: 4*1 + 1*2 + 0*1 = 6.
    table = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert cohen_kappa(table, "quadratic") == pytest.approx(1 - 4 * 1 / 20)
    assert cohen_kappa(table) == pytest.approx((3 / 4 - 5 / 16) / (1 - 5 / 16))


def test_full_agreement_disagreement_and_none_beyond_chance() -> None:
    tables = np.array([[[3, 0], [0, 4]], [[0, 5], [5, 0]], [[2, 2], [2, 2]], [[7, 0], [0, 0]]])
    found = cohen_kappa(tables)
    np.testing.assert_allclose(found, [1.0, -1.0, 0.0, np.nan])
    np.testing.assert_allclose(cohen_kappa(tables, "quadratic"), found)
