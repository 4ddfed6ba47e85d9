"""The agreement of two judges: kappa over what both rated, with intervals over personas."""

from __future__ import annotations

import numpy as np
import pytest

from perbench.judges.agreement import judge_agreement


def test_by_hand() -> None:
    first = [1, 5, 5, 1, None, 3]
    second = [1, 5, 1, 1, 4, None]
    found = judge_agreement(first, second, ["a", "a", "b", "b", "c", "c"], "judges")
    kappa, weighted = found["judge_kappa"], found["judge_weighted_kappa"]
    # 3 of 4 agree; by chance 2/4 * 3/4 + 2/4 * 1/4 = 1/2. With two categories the weights change nothing.
    assert kappa.value == weighted.value == pytest.approx(0.5)
    assert (kappa.n, kappa.missing) == (4, 2)
    assert (kappa.users, kappa.ci) == (2, None)
    assert kappa.signature == "judge_kappa|weights:none|judges"


def test_the_interval_is_over_users() -> None:
    first, second = [1, 5, 5, 1, 1, 5], [1, 5, 1, 1, 1, 5]
    kappa = judge_agreement(first, second, list("aabbcc"), "judges")["judge_kappa"]
    # Without a or c: as by hand above; without b: 1. All: 5 of 6, by chance 3/6 * 2/6 + 3/6 * 4/6 = 1/2.
    value, left = 2 / 3, np.array([0.5, 1.0, 0.5])
    half = 4.30265273 * np.sqrt(2 / 3 * ((left - value) ** 2).sum())
    assert kappa.value == pytest.approx(value)
    assert kappa.ci == pytest.approx((value - half, 1.0))


def test_near_misses_weigh_less() -> None:
    found = judge_agreement([1, 2, 4, 5], [2, 1, 5, 4], list("abcd"), "judges")
    assert found["judge_kappa"].value == pytest.approx(-1 / 3)
    # Observed (i-j)^2: 4 of 1; by chance the mean over all pairs: (2 * (1 + 9 + 16 + 4 + 9 + 1)) / 16 = 5.
    assert found["judge_weighted_kappa"].value == pytest.approx(1 - 1 / 5)


@pytest.mark.parametrize(("first", "second"), [([], []), ([3, 3], [3, 3]), ([None], [2])])
def test_what_says_nothing_has_no_kappa(first: list[int | None], second: list[int | None]) -> None:
    found = judge_agreement(first, second, ["a", "b"][: len(first)], "judges")
    assert [metric.value for metric in found.values()] == [None, None]
    assert [metric.ci for metric in found.values()] == [None, None]
