"""Intervals, tests and ranks: against gold.json, scipy and statsmodels, and by their properties.

gold.json was made and cross-checked by independent code (explicit loops and matrices, scipy, statsmodels).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from perbench.stats.spread import (
    Floats,
    Spread,
    added,
    holm,
    jackknife,
    left_out,
    mean_spread,
    rank_ranges,
    seed_spread,
    share_interval,
    user_df,
    wilson,
)

GOLD = json.loads((Path(__file__).parent / "gold.json").read_text())
EXAMPLES = GOLD["examples"]


def by_user(values: list[float | None], users: list[Any]) -> tuple[Floats, Floats]:
    """[G] sums and numbers of the scores that are not None."""
    names = sorted({user for user, value in zip(users, values, strict=True) if value is not None})
    held = [
        [value for user, value in zip(users, values, strict=True) if user == name and value is not None]
        for name in names
    ]
    return np.array([sum(of) for of in held], float), np.array([len(of) for of in held], float)


def check(spread: Spread | None, out: dict[str, Any]) -> None:
    assert spread is not None
    assert np.sqrt(spread.variance) == pytest.approx(out["se"], rel=1e-9)
    assert spread.df == pytest.approx(out["df"], rel=1e-9)
    assert spread.p(out["value"]) == pytest.approx(out["p_two_sided_zero"], rel=1e-8)
    assert spread.interval(out["value"]) == pytest.approx(tuple(out["ci95"]), rel=1e-9)


@pytest.mark.parametrize("name", ["1 mean, 5 users x 4", "2 mean, unequal users, missing scores"])
def test_mean(name: str) -> None:
    one = EXAMPLES[name]
    sums, sizes = by_user(one["values"], one["users"])
    assert sums.sum() / sizes.sum() == pytest.approx(one["out"]["value"])
    check(mean_spread(sums, sizes), one["out"])


@pytest.mark.parametrize("name", ["2 of 20, 5 users", "0 of 16, 8 users", "9 of 12, unequal"])
def test_share(name: str) -> None:
    one = EXAMPLES["4 proportions (Wilson, effective samples)"][name]
    spread = mean_spread(*by_user(one["values"], one["users"]))
    assert spread is not None
    assert spread.df == pytest.approx(one["out"]["df"])
    value, users = one["out"]["value"], len(set(one["users"]))
    found = share_interval(value, spread, len(one["values"]), users)
    assert found == pytest.approx(tuple(one["out"]["ci95"]), rel=1e-9, abs=1e-12)


def test_f1() -> None:
    one = EXAMPLES["6 F1, slope, macro"]["F1"]
    counts = np.array(one["tp_fp_fn"], float)

    def f1(sums: Floats) -> Floats:
        tp, fp, fn = sums.T
        found: Floats = 2 * tp / (2 * tp + fp + fn)
        return found

    value, left = left_out(f1, counts)
    assert left == pytest.approx(one["delete_one"])
    assert value == pytest.approx(one["out"]["value"])
    check(jackknife(value, left, counts.sum(axis=1)), one["out"])


def test_slope() -> None:
    one = EXAMPLES["6 F1, slope, macro"]["IR slope"]
    sums, counts = np.array(one["sums_users_x_turns"], float), np.array(one["counts"], float)
    turns = sums.shape[1]
    x = np.arange(turns) - (turns - 1) / 2

    def slope(both: Floats) -> Floats:
        levels = both[:, :turns] / both[:, turns:]
        found: Floats = levels @ x / (x @ x)
        return found

    value, left = left_out(slope, np.hstack([sums, counts]))
    assert left == pytest.approx(one["delete_one"])
    check(jackknife(value, left, counts.sum(axis=1)), one["out"])


def test_holm_and_ranks() -> None:
    one = EXAMPLES["5 gains over the last method, and ranks"]
    scores = np.array(one["scores_users_x_methods"])
    ones = np.ones(len(scores))

    def pair(i: int, j: int) -> tuple[float, float | None]:
        difference = scores[:, i] - scores[:, j]
        spread = mean_spread(difference, ones)
        assert spread is not None
        return float(difference.mean()), spread.p(float(difference.mean()))

    p = [pair(i, 3)[1] or 0.0 for i in range(3)]
    assert p == pytest.approx(one["p_t"], rel=1e-8)
    assert holm(p) == pytest.approx(one["p_holm"], rel=1e-8)
    pairs = [(i, j, *pair(i, j)) for i, j in one["ranks"]["pairs"]]
    assert holm([p or 0.0 for *_, p in pairs]) == pytest.approx(one["ranks"]["p_holm"], rel=1e-8)
    assert rank_ranges(pairs, 4) == [tuple(found) for found in one["ranks"]["rank_sets"]]
    backwards = [(j, i, -gain, p) for i, j, gain, p in pairs]
    assert rank_ranges(backwards, 4) == rank_ranges(pairs, 4)


def test_no_pair_tells_methods_apart() -> None:
    assert rank_ranges([(0, 1, 0.5, None), (0, 2, 0.1, 0.3), (1, 2, -0.4, 0.03)], 3) == [(1, 3)] * 3


@pytest.mark.parametrize(("df", "quantile"), GOLD["t_quantiles_975"])
def test_student(df: float, quantile: float) -> None:
    assert Spread(1.0, df).quantile(0.975) == pytest.approx(quantile, rel=1e-9)


# ------------------------------------------------------------------------------------- other libraries


def test_equal_users_are_a_t_test_of_user_means() -> None:
    rng = np.random.default_rng(4)
    means = rng.normal(0.3, 1, size=9)
    spread = mean_spread(means * 5, np.full(9, 5.0))
    assert spread is not None
    test = scipy_stats.ttest_1samp(means, 0)
    assert (spread.df, spread.p(means.mean())) == pytest.approx((8, test.pvalue))
    found = spread.interval(means.mean(), level=0.9)
    assert found == pytest.approx(tuple(test.confidence_interval(0.9)))


def test_independent_samples_are_wilsons() -> None:
    expected = scipy_stats.binomtest(7, 30).proportion_ci(method="wilson")
    assert wilson(7 / 30, 30, 1.959963984540054) == pytest.approx((expected.low, expected.high))


def test_two_groups_by_welch() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=6), rng.normal(1, 3, size=11)
    welch = scipy_stats.ttest_ind(a, b, equal_var=False)
    spread = added([seed_spread(a), seed_spread(b)])
    assert spread.df == pytest.approx(welch.df)
    assert spread.p(a.mean() - b.mean()) == pytest.approx(welch.pvalue)


def test_the_jackknife_is_the_cr3_variance_of_a_regression() -> None:
    """The mean is a regression on a constant; CR3 is Σ (Σ residuals of g / (1 - leverage of g))² / N²."""
    rng = np.random.default_rng(2)
    users = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    values = rng.normal(size=10)
    sums, sizes = np.bincount(users, values), np.bincount(users).astype(float)
    residual = values - values.mean()
    inflated = np.bincount(users, residual) / (1 - sizes / 10)
    spread = mean_spread(sums, sizes)
    assert spread is not None
    assert spread.variance == pytest.approx(3 / 4 * (inflated**2).sum() / 100)


@pytest.mark.parametrize("sizes", [[1, 1, 1], [4, 2, 1, 1], [30, 1, 1, 5, 9]])
def test_degrees_of_freedom_by_matrices(sizes: list[float]) -> None:
    """The variance is e'De of the users' residuals e = (I - w 1')y, y of variance diag(w): by Satterthwaite
    its degrees of freedom are tr(DC)² / tr(DCDC), C the covariance of e."""
    w = np.array(sizes) / sum(sizes)
    d = np.diag((1 - w) ** -2)
    project = np.eye(len(w)) - np.outer(w, np.ones(len(w)))
    c = project @ np.diag(w) @ project.T
    dc = d @ c
    assert user_df(np.array(sizes)) == pytest.approx(np.trace(dc) ** 2 / np.trace(dc @ dc))


def test_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).random(28) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


# ------------------------------------------------------------------------------------- no interval


def test_under_three_users_there_is_none() -> None:
    assert mean_spread(np.array([1.0, 5.0]), np.array([2.0, 2.0])) is None
    # A user without samples is no third one.
    assert mean_spread(np.array([1.0, 5.0, 0.0]), np.array([2.0, 2.0, 0.0])) is None
    assert mean_spread(np.array([]), np.array([])) is None


def test_an_undefined_statistic_has_none() -> None:
    sizes = np.ones(3)
    assert jackknife(0.5, np.array([0.4, np.nan, 0.6]), sizes) is None
    assert jackknife(np.nan, np.array([0.4, 0.5, 0.6]), sizes) is None


def test_equal_scores_have_neither_interval_nor_p() -> None:
    spread = mean_spread(np.array([0.1 + 0.2, 0.3, 0.6, 0.1 * 9]), np.array([1.0, 1.0, 2.0, 3.0]))
    assert spread is not None
    assert (spread.variance, spread.interval(0.3), spread.p(0.3), spread.detectable()) == (
        0,
        None,
        None,
        None,
    )


# ------------------------------------------------------------------------------------- properties

numbers = st.integers(-50, 50).map(lambda number: number / 8)
scores = st.lists(st.lists(numbers, min_size=1, max_size=4), min_size=3, max_size=7)


def spread_of(held: list[list[float]]) -> tuple[float, Spread]:
    sums = np.array([sum(of) for of in held])
    sizes = np.array([len(of) for of in held], float)
    spread = mean_spread(sums, sizes)
    assert spread is not None
    return float(sums.sum() / sizes.sum()), spread


@given(scores, st.randoms())
@settings(max_examples=60, deadline=None)
def test_order_does_not_matter(held: list[list[float]], random: Any) -> None:
    value, spread = spread_of(held)
    mixed = [random.sample(of, len(of)) for of in random.sample(held, len(held))]
    other, also = spread_of(mixed)
    assert (other, also.variance, also.df) == pytest.approx((value, spread.variance, spread.df))


@given(scores, numbers, st.sampled_from([-3.0, -1.0, 0.5, 7.0]))
@settings(max_examples=60, deadline=None)
def test_shifts_and_scales(held: list[list[float]], shift: float, scale: float) -> None:
    value, spread = spread_of(held)
    moved, also = spread_of([[scale * x + shift for x in of] for of in held])
    assert moved == pytest.approx(scale * value + shift)
    assert (also.variance, also.df) == pytest.approx((scale**2 * spread.variance, spread.df))
    ci = spread.interval(value)
    if ci is not None:
        ends = sorted(scale * end + shift for end in ci)
        assert also.interval(moved) == pytest.approx(tuple(ends))


@given(scores, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=100, deadline=None)
def test_mark_and_interval_agree(held: list[list[float]], level: float) -> None:
    value, spread = spread_of(held)
    ci, p = spread.interval(value, level), spread.p(value)
    assume(ci is not None and p is not None)
    assert ci is not None
    assert p is not None
    assume(min(abs(ci[0]), abs(ci[1])) > 1e-9)
    assert (ci[0] > 0 or ci[1] < 0) == (p <= 1 - level)
    assert p == spread.p(-value)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_keeps_order_and_only_raises(p: list[float]) -> None:
    found = holm(p)
    assert all(found >= np.array(p))
    assert all(found <= 1)
    assert found[int(np.argmin(p))] == pytest.approx(min(1.0, len(p) * min(p)))
    order = np.argsort(p)
    assert all(np.diff(found[order]) >= 0)


@given(st.integers(0, 12), st.integers(1, 12), st.integers(3, 9))
@settings(max_examples=60, deadline=None)
def test_a_share_lies_in_its_interval(right: int, samples: int, users: int) -> None:
    assume(right <= samples)
    share = right / samples
    lo, hi = share_interval(share, Spread(share * (1 - share) / users, users - 1), samples, users)
    assert 0 <= lo <= share <= hi <= 1
    assert hi - lo > 0


def test_what_can_be_detected_would_be_found_in_four_of_five() -> None:
    rng = np.random.default_rng(7)
    spread = Spread(1.0, 7)
    limit, shift = spread.quantile(0.975), spread.detectable()
    assert shift is not None
    t = (rng.normal(size=20_000) + shift) / np.sqrt(rng.chisquare(7, size=20_000) / 7)
    assert (t > limit).mean() == pytest.approx(0.8, abs=0.03)
