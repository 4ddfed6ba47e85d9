"""Means of gains: against gold.json and by hand."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pytest

from perbench.stats.across import Part, mean_gain
from perbench.stats.paired import Aligned, Method, Sampled
from perbench.stats.spread import user_df

GOLD = json.loads((Path(__file__).parent / "gold.json").read_text())["examples"]["6 F1, slope, macro"]


def method(users: Sequence[str], *seeds: Sequence[float], trained: bool = True) -> Method:
    ids = [str(place) for place in range(len(users))]
    rows = [Sampled(ids, users, np.array(seed, float)[:, None]) for seed in seeds]
    return Method(rows, trained, names=range(len(seeds)))


def part(
    a: Method, b: Method | None = None, column: Hashable = 0, sides: tuple[Hashable, Hashable] = ("a", "b")
) -> Part:
    b = b or method(a.seeds[0].users, [0.0] * len(a.seeds[0].users), trained=False)
    return Part(Aligned([a, b]).effect(0, 1), column, sides, (tuple(a.names), tuple(b.names)))


@pytest.mark.parametrize("name", ["macro, users of each column differ", "macro, users shared by columns"])
def test_a_mean_over_columns(name: str) -> None:
    out = GOLD[name]["out"]
    found = mean_gain(
        [
            part(method(users, values, trained=False), None, column)
            for column, (values, users) in enumerate(GOLD[name]["columns"])
        ]
    )
    assert found.spread is not None
    assert found.value == pytest.approx(out["value"])
    assert found.spread.variance == pytest.approx(out["se"] ** 2)
    assert found.spread.df == pytest.approx(out["df"])
    assert found.p == pytest.approx(out["p_two_sided_zero"], rel=1e-8)
    assert found.ci == pytest.approx(tuple(out["ci95"]))


def test_one_gain_is_its_own_mean() -> None:
    a, b = method("uuvw", [1, 2, 3, 9], [2, 2, 5, 7]), method("uuvw", [0, 1, 1, 0], [1, 1, 2, 0])
    assert mean_gain([part(a, b)]) == Aligned([a, b]).gain(0, 1)


def test_a_user_of_one_target_counts_once_however_many_sources_are_evaluated_on_it() -> None:
    """Three sources with the same gains tell no more about users than one does."""
    one = part(method("uvw", [1, 2, 6]), None, "t")
    alone, thrice = mean_gain([one]), mean_gain([one] * 3)
    assert thrice.spread == alone.spread
    assert (thrice.users, thrice.n) == (3, 9)
    # Sources whose users move in opposite directions: the mean gain of every user is 3.
    other = part(method("uvw", [5, 4, 0]), None, "t")
    assert mean_gain([one, other]).ci is None
    # Users 1, 2, 6 and 1, 4, 4 give user means 1, 3, 5: mean 3, variance 4 / 3 over G - 1 = 2.
    mixed = mean_gain([one, part(method("uvw", [1, 4, 4]), None, "t")])
    assert (mixed.value, mixed.spread and mixed.spread.variance) == (3.0, pytest.approx(4 / 3))
    assert mixed.spread is not None
    assert mixed.spread.df == pytest.approx(2)


def test_targets_of_other_users_are_independent() -> None:
    a, b = part(method("uvw", [1, 2, 6]), None, "t"), part(method("xyz", [0, 1, 2]), None, "s")
    found = mean_gain([a, b])
    assert found.spread is not None
    # V = 7/3 and 1/3 (variances 7 and 1 over three users), each at weight 1/4, df 2 and 2.
    first, second = 7 / 3 / 4, 1 / 3 / 4
    assert found.spread.variance == pytest.approx(first + second)
    assert found.spread.df == pytest.approx((first + second) ** 2 / (first**2 / 2 + second**2 / 2))
    assert found.users == 6
    # The same scores of the same users: they are added up by user, and never have more than G - 1 degrees.
    shared = mean_gain([a, part(method("uvw", [0, 1, 2]), None, "s")])
    assert shared.spread is not None
    assert shared.spread.variance == pytest.approx(np.var([0.5, 1.5, 4], ddof=1) / 3)
    assert shared.spread.df == pytest.approx(2)


def test_users_of_unequal_size_weigh_by_their_share_of_a_column() -> None:
    found = mean_gain([part(method("uuuvw", [1, 1, 1, 5, 6]), None, "t")] * 2)
    assert found.spread is not None
    assert found.spread.df == pytest.approx(user_df(np.array([3.0, 1.0, 1.0])))


def test_a_training_varies_all_its_targets_together() -> None:
    """Seeds 1 apart on both targets: the mean gain is 1 apart, not 1 / sqrt(2)."""
    users = "uvw"
    a = method(users, [1, 2, 6], [2, 3, 7])
    parts = [part(a, None, "t"), part(method("xyz", [0, 1, 2], [1, 2, 3]), None, "s")]
    together = mean_gain(parts)
    users_only = mean_gain(
        [part(method("uvw", [1.5, 2.5, 6.5]), None, "t"), part(method("xyz", [0.5, 1.5, 2.5]), None, "s")]
    )
    assert together.spread is not None
    assert users_only.spread is not None
    assert (together.seeds, users_only.seeds) == (2, 1)
    assert together.spread.variance == pytest.approx(users_only.spread.variance + 0.5 / 2)
    # Trainings on two sources are independent: each adds (1/2)² of its own variance.
    apart = mean_gain([parts[0], part(method("xyz", [0, 1, 2], [1, 2, 3]), None, "s", ("a2", "b2"))])
    assert apart.spread is not None
    assert apart.spread.variance == pytest.approx(users_only.spread.variance + 2 * 0.5 / 2 / 4)


def test_seeds_are_those_that_every_target_has() -> None:
    first = part(method("uvw", [1, 2, 6], [2, 3, 7]), None, "t")
    second = part(method("xyz", [0, 1, 2]), None, "s")
    assert mean_gain([first, second]).seeds == 1


def test_no_interval() -> None:
    whole, two = part(method("uvw", [1, 2, 6]), None, "t"), part(method("xyy", [0, 1, 2]), None, "s")
    for parts, value in (([whole, two], 2.0), ([part(method("uvw", [2, 2, 2]))], 2.0), ([], None)):
        found = mean_gain(parts)
        assert (found.value, found.ci, found.p) == (value, None, None)
    none = Part(
        Aligned([method("uvw", [1, 2, 6]), Method([Sampled(["9"], ["q"], np.ones((1, 1)))])]).effect(0, 1),
        "s",
        ("a", "b"),
        ((), ()),
    )
    assert mean_gain([whole, none]).value is None
