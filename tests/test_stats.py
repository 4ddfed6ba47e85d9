"""Intervals and paired gains: exact against enumeration, honest in coverage, strict about pairing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perbench.stats.intervals as stats
from perbench.stats.intervals import Gain, Sampled, chance_to_exclude_zero, mean_interval, paired_gain


def enumerated(values: Sequence[float], clusters: Sequence[str]) -> np.ndarray:
    """The means of all C^C equally likely resamples of C clusters."""
    groups = {c: [v for v, d in zip(values, clusters, strict=True) if d == c] for c in clusters}
    return np.array(
        [np.mean([v for c in draw for v in groups[c]]) for draw in product(groups, repeat=len(groups))]
    )


@pytest.mark.parametrize(
    ("values", "clusters"),
    [
        ([0.0, 1.0], ["u", "v"]),
        ([1.0, 2.0, 4.0], ["u", "v", "w"]),
        ([1.0, 2.0, 4.0, 8.0, 3.0], ["u", "v", "u", "w", "v"]),
        ([0.5, -1.5, 7.0, 2.0], ["a", "b", "c", "d"]),
    ],
)
def test_interval_equals_the_enumeration_of_all_resamples(values: list[float], clusters: list[str]) -> None:
    # Level 0.9 keeps the wanted quantiles inside an atom of these discrete distributions, so that the random
    # draw and the enumeration agree exactly and not only in the limit.
    means = enumerated(values, clusters)
    expected = np.quantile(means, [0.05, 0.95], method="inverted_cdf")
    found = mean_interval(values, clusters, resamples=100_000, level=0.9)
    assert found == pytest.approx(tuple(expected), abs=1e-12)


def test_two_users_by_hand() -> None:
    # Resamples uu, uv, vu, vv have means 0, 0.5, 0.5, 1; a quarter of the mass lies at either end.
    assert mean_interval([0, 1], ["u", "v"]) == (0.0, 1.0)
    # At level 0.4 the interval leaves 30% on either side, more than the quarter at the ends.
    assert mean_interval([0, 1], ["u", "v"], level=0.4) == (0.5, 0.5)


def test_a_user_with_more_samples_weighs_more() -> None:
    # u holds three samples: mean of (u, v) is (3*1 + 5) / 4 = 2, not the mean 3 of the users' means.
    assert mean_interval([1, 1, 1, 5], ["u", "u", "u", "v"], level=0.2) == (2.0, 2.0)


def test_coverage_on_clustered_normal_data() -> None:
    rng = np.random.default_rng(20)
    hits = 0
    for _ in range(400):
        users = np.repeat(np.arange(60), 3)
        values = 2 + rng.normal(size=60)[users] + rng.normal(size=180)  # a user's samples resemble each other
        lo, hi = mean_interval(values.tolist(), users.astype(str).tolist(), resamples=600) or (0, 0)
        hits += lo <= 2 <= hi
    assert 0.92 <= hits / 400 <= 0.98


def test_ignoring_the_clusters_would_be_too_sure() -> None:
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(40), 5)
    values = (rng.normal(size=40)[users] * 3 + rng.normal(size=200)).tolist()
    by_user = mean_interval(values, users.astype(str).tolist())
    by_sample = mean_interval(values, [str(i) for i in range(200)])
    assert by_user is not None
    assert by_sample is not None
    assert by_user[1] - by_user[0] > 1.5 * (by_sample[1] - by_sample[0])


def test_missing_values_leave_no_trace() -> None:
    assert mean_interval([None, 1, 3, None, 5], ["z", "u", "v", "u", "w"]) == mean_interval(
        [1, 3, 5], ["u", "v", "w"]
    )


@pytest.mark.parametrize(
    ("values", "clusters"), [([], []), ([1.0], ["u"]), ([1.0, 2.0], ["u", "u"]), ([1.0, None], ["u", "v"])]
)
def test_fewer_than_two_users_have_no_interval(values: list[float | None], clusters: list[str]) -> None:
    assert mean_interval(values, clusters) is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        mean_interval([1.0, 2.0], ["u"])


def test_seed_and_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values, users = list(np.random.default_rng(0).normal(size=30)), [str(i) for i in range(30)]
    whole = mean_interval(values, users)
    assert whole == mean_interval(values, users)
    assert whole != mean_interval(values, users, seed=1)
    monkeypatch.setattr(stats, "BLOCK", 97)  # blocks of three resamples draw the same stream
    assert mean_interval(values, users) == whole


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.sampled_from("abcde")), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_interval_lies_within_the_values(pairs: list[tuple[float, str]]) -> None:
    values, clusters = [v for v, _ in pairs], [c for _, c in pairs]
    found = mean_interval(values, clusters, resamples=200)
    assert (found is None) == (len(set(clusters)) < 2)
    if found is not None:
        assert min(values) - 1e-9 <= found[0] <= found[1] <= max(values) + 1e-9


IDS, USERS = ["1", "2", "3", "4"], ["u", "u", "v", "w"]


def test_gain_by_hand() -> None:
    gain = paired_gain(Sampled(IDS, [1, 2, 3, 4], USERS), Sampled(IDS, [0, 1, 1, 0], USERS))
    differences = [1.0, 1.0, 2.0, 4.0]
    assert gain == Gain(value=2.0, ci=mean_interval(differences, USERS), n=4, missing=0, users=3)
    assert gain.excludes_zero


def test_pairing_goes_by_id_not_by_place() -> None:
    b = Sampled(IDS[::-1], [10, 20, 30, 40], USERS[::-1])
    assert paired_gain(Sampled(IDS, [41, 31, 21, 11], USERS), b) == Gain(1.0, (1.0, 1.0), 4, 0, 3)


def test_seeds_are_averaged_per_id_before_pairing() -> None:
    # a: ids 1 and 2 under two seeds, the second with one missing score. b: one seed.
    a = Sampled(["1", "2", "1", "2"], [1, 5, 3, None], ["u", "v", "u", "v"])
    b = Sampled(["1", "2"], [0, 1], ["u", "v"])
    gain = paired_gain(a, b)
    assert (gain.value, gain.n, gain.missing) == (3.0, 2, 0)  # ((1+3)/2 - 0 + 5 - 1) / 2
    assert a.averaged() == Sampled(["1", "2"], [2.0, 5.0], ["u", "v"])


def test_only_shared_scored_ids_count() -> None:
    a = Sampled(["1", "2", "3", "4"], [1, None, 3, 9], USERS)
    b = Sampled(["1", "2", "3", "5"], [0, 0, 0, 9], USERS)
    gain = paired_gain(a, b)
    assert (gain.value, gain.n, gain.missing) == (2.0, 2, 3)  # 2 has no score in a, 4 is not in b, 5 not in a


def test_nothing_shared() -> None:
    assert paired_gain(Sampled(["1"], [1], ["u"]), Sampled(["2"], [1], ["u"])) == Gain(None, None, 0, 2, 0)
    assert not Gain(1.0, None, 1, 0, 1).excludes_zero


@given(
    st.lists(
        st.tuples(st.sampled_from(["1", "2", "3", "4"]), st.none() | st.floats(-1e6, 1e6, allow_nan=False)),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_cell_against_itself_gains_exactly_nothing(rows: list[tuple[str, float | None]]) -> None:
    cell = Sampled(
        [i for i, _ in rows], [v for _, v in rows], [dict(zip(IDS, USERS, strict=True))[i] for i, _ in rows]
    )
    gain = paired_gain(cell, cell)
    assert gain.value in (None, 0.0)
    assert gain.ci in (None, (0.0, 0.0))
    assert not gain.excludes_zero


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_flips_the_sign(rows: list[tuple[float, float]]) -> None:
    a, b = Sampled(IDS, [x for x, _ in rows], USERS), Sampled(IDS, [y for _, y in rows], USERS)
    forth, back = paired_gain(a, b), paired_gain(b, a)
    assert forth.value == pytest.approx(-(back.value or 0))
    assert forth.ci == pytest.approx(tuple(-x for x in reversed(back.ci or ())))


def test_an_id_under_two_users_is_refused() -> None:
    with pytest.raises(ValueError, match="'1' belongs to two clusters"):
        Sampled(["1", "1"], [1, 2], ["u", "v"]).averaged()
    with pytest.raises(ValueError, match="'1' belongs to two clusters"):
        paired_gain(Sampled(["1"], [1], ["u"]), Sampled(["1"], [1], ["v"]))


@pytest.mark.parametrize(
    ("t", "freedom"), [(12.7062, 1), (4.3027, 2), (3.1824, 3), (2.2622, 9), (2.0017, 58)]
)
def test_student_against_the_printed_table(t: float, freedom: int) -> None:
    assert stats._student_within(t, freedom) == pytest.approx(0.95, abs=2e-5)


@pytest.mark.parametrize("users", [2, 3, 5, 10, 30])
def test_chance_to_exclude_zero_against_simulation(users: int) -> None:
    rng = np.random.default_rng(users)
    names = [str(i) for i in range(users)]
    found = [mean_interval(row.tolist(), names, resamples=400) for row in rng.normal(size=(1500, users))]
    excluded = sum(ci is not None and (ci[0] > 0 or ci[1] < 0) for ci in found) / len(found)
    assert chance_to_exclude_zero(users) == pytest.approx(excluded, abs=0.03)


def test_chance_to_exclude_zero_nears_the_level() -> None:
    assert chance_to_exclude_zero(2) == 0.5
    assert chance_to_exclude_zero(2000) == pytest.approx(0.05, abs=1e-3)
    with pytest.raises(ValueError, match="two users"):
        chance_to_exclude_zero(1)
