"""Intervals of micro averages: a ratio of sums, users resampled."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from perbench.stats import mean_interval, ratio_interval


def test_equals_the_enumeration_of_all_resamples() -> None:
    tops, bottoms, users = [1, 3, 0, 2], [2, 3, 4, 5], ["a", "b", "c", "b"]
    a, b, c = (1, 2), (3 + 2, 3 + 5), (0, 4)  # users as wholes
    ratios = [sum(t for t, _ in draw) / sum(n for _, n in draw) for draw in product([a, b, c], repeat=3)]
    expected = np.quantile(ratios, [0.05, 0.95], method="inverted_cdf")
    found = ratio_interval(tops, bottoms, users, resamples=100_000, level=0.9)
    assert found == pytest.approx(tuple(expected), abs=1e-12)


def test_denominators_of_one_make_it_the_mean() -> None:
    values, users = [0.5, -1.5, 7.0, 2.0], ["a", "b", "c", "b"]
    assert ratio_interval(values, [1] * 4, users) == mean_interval(values, users)


def test_draws_without_a_denominator_are_left_out() -> None:
    # Half of the draws hold user "a" alone or twice: 1/2; a draw of "b" alone has no ratio.
    assert ratio_interval([1, 0], [2, 0], ["a", "b"]) == (0.5, 0.5)
    assert ratio_interval([0, 0], [0, 0], ["a", "b"]) is None


def test_one_user_has_no_interval() -> None:
    assert ratio_interval([1, 2], [2, 2], ["a", "a"]) is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one entry per sample"):
        ratio_interval([1.0], [1.0, 2.0], ["a", "b"])
