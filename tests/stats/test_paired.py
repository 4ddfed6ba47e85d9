"""Values over seeds, and gains: against gold.json, and strict about pairing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.stats.paired import Aligned, Estimate, Method, Sampled, holm_adjusted
from perbench.stats.spread import Floats, mean_spread, ratio

GOLD = json.loads((Path(__file__).parent / "gold.json").read_text())["examples"]
IDS, USERS = ["1", "2", "3", "4"], ["u", "u", "v", "w"]


def sampled(
    values: Sequence[float | None], ids: Sequence[str] = IDS, users: Sequence[str] = USERS
) -> Sampled:
    return Sampled(ids, users, np.array(values, np.float64)[:, None])


def method(*seeds: Sequence[float | None], trained: bool = True, share: bool = False) -> Method:
    return Method([sampled(values) for values in seeds], trained, share=share)


def gain(a: Method, b: Method) -> Estimate:
    return Aligned([a, b]).gain(0, 1)


def estimate(method: Method) -> Estimate:
    return Aligned([method]).value(0)


def test_a_gain_with_seeds() -> None:
    one = GOLD["3 paired gain, 3 seeds against 2"]
    ids = [str(number) for number in range(len(one["users"]))]
    a, b = (Method([sampled(seed, ids, one["users"]) for seed in one[side]]) for side in "ab")
    found, out = gain(a, b), one["out"]
    assert found.spread is not None
    assert (found.value, found.seeds, found.users) == (pytest.approx(out["value"]), 2, 6)
    assert found.spread.variance == pytest.approx(out["se"] ** 2)
    assert found.spread.df == pytest.approx(out["df"])
    assert found.p == pytest.approx(out["p_two_sided_zero"], rel=1e-8)
    assert found.ci == pytest.approx(tuple(out["ci95"]))
    assert found.spread.detectable() == pytest.approx(out["detectable_80"])
    assert found.excludes_zero


def test_untrained_methods_bring_no_seeds_and_one_seed_is_not_counted() -> None:
    one = GOLD["3 paired gain, 3 seeds against 2"]
    ids = [str(number) for number in range(len(one["users"]))]
    a, b = ([sampled(seed, ids, one["users"]) for seed in one[side]] for side in "ab")
    only = one["out"]["users_only"]
    base = gain(Method(a, trained=False), Method(b, trained=False))
    assert (base.seeds, base.p) == (0, pytest.approx(only["p_two_sided_zero"], rel=1e-8))
    assert base.ci == pytest.approx(tuple(only["ci95"]))
    single = gain(Method(a), Method(b[:1]))
    assert single.seeds == 1
    assert single.spread is not None
    means = np.mean(one["a"], axis=0) - one["b"][0]
    places = [sorted(set(one["users"])).index(user) for user in one["users"]]
    expected = mean_spread(np.bincount(places, means), np.bincount(places).astype(float))
    assert expected is not None
    assert single.spread.variance == pytest.approx(expected.variance)
    trained = gain(Method(a), Method(b[:1], trained=False))
    assert trained.seeds == 3
    assert trained.spread is not None
    assert trained.spread.variance == pytest.approx(expected.variance + one["out"]["V_seeds"][0])


def test_a_gain_by_hand() -> None:
    found = gain(method([1, 2, 3, 4]), method([0, 1, 1, 0]))
    assert (found.value, found.n, found.missing, found.users) == (2.0, 4, 0, 3)
    # Differences 1, 1 | 2 | 4; without u 3, without v 2, without w 4/3: V = 2/3 (1 + 0 + 4/9).
    assert found.spread is not None
    assert found.spread.variance == pytest.approx(2 / 3 * (1 + 4 / 9))


def test_pairing_goes_by_id_not_by_place() -> None:
    b = Method([sampled([10, 20, 30, 41], IDS[::-1], USERS[::-1])])
    found = gain(method([42, 31, 21, 11]), b)
    assert (found.value, found.n, found.missing) == (1.0, 4, 0)
    assert found.ci is None  # the same gain on every sample
    assert found.p is None


def test_seeds_are_averaged_per_sample_before_pairing() -> None:
    found = gain(method([1, 5, None, None], [3, None, None, None]), method([0, 1, 0, 0]))
    assert (found.value, found.n, found.missing, found.users) == (3.0, 2, 2, 1)  # ((1+3)/2 - 0 + 5 - 1) / 2


def test_only_shared_samples_with_scores_count() -> None:
    a = Method([sampled([1, None, 3, 9])])
    b = Method([sampled([0, 0, 0, 9], ["1", "2", "3", "5"])])
    found = gain(a, b)
    assert (found.value, found.n, found.missing) == (
        2.0,
        2,
        3,
    )  # 2 has no score in a, 4 is not in b, 5 not in a


def test_nothing_shared() -> None:
    found = gain(Method([sampled([1], ["1"], ["u"])]), Method([sampled([1], ["2"], ["u"])]))
    assert found == Estimate(None, 0, 2, 0)
    assert not found.excludes_zero


def test_a_sample_under_two_users_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'1'.*'u'.*'v'"):
        estimate(Method([sampled([1, 2], ["1", "1"], ["u", "v"])]))
    with pytest.raises(ValueError, match=r"'1'.*'u'.*'v'"):
        gain(Method([sampled([1], ["1"], ["u"])]), Method([sampled([1], ["1"], ["v"])]))


def test_an_estimate_over_seeds() -> None:
    found = estimate(method([1, 2, 3, 4], [3, 2, 3, 6]))
    assert (found.value, found.n, found.p) == (3.0, 4, None)  # means 2, 2 | 3 | 5
    users = mean_spread(np.array([4.0, 3.0, 5.0]), np.array([2.0, 1.0, 1.0]))
    assert users is not None
    assert found.spread is not None
    # Seed means 2.5 and 3.5: variance 1/2, over two seeds 1/4.
    assert found.spread.variance == pytest.approx(users.variance + 1 / 4)


def test_a_seed_that_lacks_a_sample_is_compared_on_what_it_has() -> None:
    """The second seed is worse by 1 on each sample that it has, and lacks the largest."""
    found = estimate(method([1, 2, 3, 10], [0, 1, 2, None]))
    assert (found.value, found.n) == (pytest.approx((0.5 + 1.5 + 2.5 + 10) / 4), 4)
    assert found.spread is not None
    users = mean_spread(np.array([2.0, 2.5, 10.0]), np.array([2.0, 1.0, 1.0]))
    assert users is not None
    apart = 3 / 8 + 1 / 2  # the first seed's mean off is 1.5 / 4, the second's -1.5 / 3
    assert found.spread.variance == pytest.approx(users.variance + apart**2 / 2 / 2)


def test_a_seed_without_scores_is_none() -> None:
    found = estimate(method([1, 2, 3, 4], [None, None, None, None]))
    assert (found.value, found.seeds) == (2.5, 1)
    assert found.ci == estimate(method([1, 2, 3, 4])).ci


def test_a_share_has_an_interval_without_spread() -> None:
    found = estimate(method([1, 1, 1, 1], share=True))
    assert found.value == 1
    assert found.ci is not None
    assert found.ci[0] < 0.7
    assert found.ci[1] == 1
    assert estimate(method([1, 1, 1, 1])).ci is None
    seeds = estimate(method([1, 1, 1, 1], [1, 1, 1, 1], share=True))
    assert seeds.ci == found.ci


def test_a_gain_is_the_same_among_other_methods() -> None:
    """Some lack samples, some have others; pairs share only their own."""
    one, two = method([1, 2, 3, 4]), method([0, 1, None, 0], [1, 1, None, 2])
    three = Method([sampled([5, None, 1, 3], ["2", "3", "4", "5"], ["u", "v", "w", "x"])])
    table = Aligned([one, two, three])
    for (i, a), (j, b) in itertools.permutations(enumerate([one, two, three]), 2):
        assert table.gain(i, j) == gain(a, b)
    assert [table.value(i) for i in range(3)] == [estimate(one), estimate(two), estimate(three)]


def test_many_gains_are_corrected_over_those_that_have_a_p() -> None:
    held = [gain(method([1, 2, 3, 4]), method(seed)) for seed in ([0, 1, 1, 0], [0, 1, 2, 3], [1, 0, 3, 6])]
    found = holm_adjusted(held)
    assert [one.adjusted is None for one in found] == [
        False,
        True,
        False,
    ]  # always by 1
    low, high = sorted(one.p for one in (held[0], held[2]) if one.p is not None)
    assert sorted(one.adjusted for one in found if one.adjusted is not None) == pytest.approx(
        [2 * low, max(2 * low, high)]
    )
    assert not any(one.remains for one in found)


def pair_of_sums(rows: Sequence[Sequence[float]]) -> Method:
    return Method([Sampled(IDS, USERS, np.array(rows, float))], trained=False, statistic=ratio)


def test_a_corpus_score_counts_samples_by_their_sums() -> None:
    rows = [[1, 2], [3, 4], [0, 5], [6, 6]]
    found = estimate(pair_of_sums(rows))
    assert found.value == pytest.approx(10 / 17)
    assert found.spread is not None
    left = np.array([6 / 11, 10 / 12, 4 / 11])
    assert found.spread.variance == pytest.approx(2 / 3 * ((left - 10 / 17) ** 2).sum())
    other = gain(pair_of_sums(rows), pair_of_sums([[0, 2], [3, 4], [1, 5], [2, 6]]))
    assert other.value == pytest.approx(10 / 17 - 6 / 17)


def test_a_corpus_score_needs_every_seed_of_a_sample() -> None:
    one = np.array([[1, 2], [3, 4], [0, 5], [6, 6]], float)
    two = np.array([[1, 2], [np.nan, np.nan], [0, 5], [6, 6]])
    found = estimate(Method([Sampled(IDS, USERS, one), Sampled(IDS, USERS, two)], statistic=ratio))
    assert (found.n, found.missing, found.value) == (3, 1, pytest.approx(7 / 13))


@given(
    st.lists(
        st.tuples(st.none() | st.integers(-40, 40), st.none() | st.integers(-40, 40)), min_size=4, max_size=4
    )
)
@settings(max_examples=60, deadline=None)
def test_swapping_the_sides_flips_the_sign(rows: list[tuple[float | None, float | None]]) -> None:
    a, b = (method([row[side] for row in rows]) for side in (0, 1))
    forth, back = gain(a, b), gain(b, a)
    assert (forth.value is None) == (back.value is None)
    if forth.value is not None and back.value is not None:
        assert forth.value == pytest.approx(-back.value)
    assert forth.p == pytest.approx(back.p)
    assert forth.ci == (None if back.ci is None else pytest.approx((-back.ci[1], -back.ci[0])))
    assert gain(a, a).value in (None, 0.0)
    assert gain(a, a).ci is None


def test_coverage_of_clustered_scores() -> None:
    """Unequal users whose samples resemble each other; the percentile interval misses one in ten or more."""
    rng = np.random.default_rng(20)
    hits, runs = 0, 600
    for _ in range(runs):
        sizes = np.floor(np.exp(rng.random(8) * np.log(31))).clip(1, 30)
        sums: Floats = sizes * (2 + 0.55 * rng.normal(size=8)) + 0.84 * np.sqrt(sizes) * rng.normal(size=8)
        spread = mean_spread(sums, sizes)
        assert spread is not None
        lo, hi = spread.interval(float(sums.sum() / sizes.sum())) or (0, 0)
        hits += lo <= 2 <= hi
    assert 0.93 <= hits / runs <= 0.985


SEED = st.lists(st.sampled_from([None, 0.0, 0.1, 0.5, 1.0, 3.7]), min_size=6, max_size=6)
SHARED = st.sampled_from([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.3, 0.1, 0.9, 0.2, 0.2, None]])


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(SEED | SHARED, min_size=1, max_size=3)), min_size=2, max_size=6
    )
)
@settings(max_examples=150, deadline=None)
def test_all_pairs_at_once_are_the_gains_one_by_one(
    methods: list[tuple[bool, list[list[float | None]]]],
) -> None:
    ids, users = list("abcdef"), list("uuvwxx")
    table = Aligned(
        [Method([sampled(seed, ids, users) for seed in seeds], trained) for trained, seeds in methods]
    )
    found = {(i, j): (value, p) for i, j, value, p in table.pairs()}
    assert found.keys() == {(i, j) for i in range(len(methods)) for j in range(i)}
    for (i, j), (value, p) in found.items():
        one = table.gain(i, j)
        assert value == (one.value or 0.0)
        assert (p is None) == (one.p is None)
        assert p is None or p == pytest.approx(one.p, rel=1e-12)


def test_all_pairs_of_corpus_scores() -> None:
    rng = np.random.default_rng(0)
    methods = [pair_of_sums(rng.integers(1, 9, (4, 2)).astype(float).tolist()) for _ in range(4)]
    table = Aligned(methods)
    for i, j, value, p in table.pairs():
        one = table.gain(i, j)
        assert (value, p) == (one.value, pytest.approx(one.p, rel=1e-12))
