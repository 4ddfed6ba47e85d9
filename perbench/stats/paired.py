"""Methods over several training seeds, and their gains over each other: docs/statistics.md, 1 and 2."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan

import numpy as np
from numpy.typing import NDArray

from perbench.stats.spread import (
    FEWEST_USERS,
    ROUNDING,
    Floats,
    Spread,
    Statistic,
    added,
    holm,
    jackknife,
    left_out,
    ratio,
    seed_spread,
    share_interval,
    user_df,
    user_numbers,
)

ALPHA = 0.05
MOST_USERS = 100_000
"""More than any run would have."""


@dataclass(frozen=True)
class Sampled:
    """One evaluation: `rows` [N, K], a row for each of `ids`, nan where the sample has no score. K is 1 for a
    metric that is a mean over samples; else the numbers add up to what a corpus score is computed from."""

    ids: Sequence[str]
    users: Sequence[str]
    rows: Floats


@dataclass(frozen=True)
class Method:
    """The evaluations of one method, one for each training seed."""

    seeds: Sequence[Sampled]
    trained: bool = True
    """False for a model as it came: it has no training seeds."""
    statistic: Statistic | None = None
    """The corpus score of summed rows; None: the mean of rows of one number."""
    share: bool = False
    """The scores say right or wrong: a mean over them is a proportion."""
    names: Sequence[int] = ()
    """What each of `seeds` is called, to recognise a training on several targets."""


@dataclass(frozen=True)
class Estimate:
    """A value, or a gain, over `n` samples of `users` users; `missing` counts samples left out."""

    value: float | None
    n: int
    missing: int
    users: int
    spread: Spread | None = None
    """None under three users, and where the value is undefined without one of them."""
    ci: tuple[float, float] | None = None
    p: float | None = None
    """Of no difference; None for the value of a method alone."""
    seeds: int = 0
    """How many trainings of each method are behind it, of the one with fewest. `ci` covers training seeds
    where there are two or more, or no training at all (0)."""
    adjusted: float | None = None
    """The p of a gain among many, after Holm's correction."""

    @property
    def excludes_zero(self) -> bool:
        """Whether its own interval does; of many gains some do by chance."""
        return self.p is not None and self.p <= ALPHA

    @property
    def remains(self) -> bool:
        """Whether it is told from 0 after the correction, too."""
        return self.adjusted is not None and self.adjusted <= ALPHA

    def users_needed(self, tests: int) -> int | None:
        """With how many such users this difference, were it the true one, would remain in a share POWER of
        tables of so many tests; None without spread or beyond MOST_USERS, and with several seeds, whose part
        of the variance more users do not reduce."""
        spread = self.spread
        if spread is None or not spread.variance or not self.value or self.seeds > 1:
            return None
        size = abs(self.value)

        def remains(users: int) -> bool:
            variance = spread.variance * self.users / users
            such = Spread(variance, spread.df * (users - 1) / (self.users - 1))
            return (such.detectable(1 - ALPHA / tests) or 0.0) <= size

        if not remains(MOST_USERS):
            return None
        return bisect_left(range(MOST_USERS + 1), True, lo=FEWEST_USERS, key=remains)


@dataclass(frozen=True)
class _Part:
    """A method's statistic over some samples: as a whole, without each user [G], and by seed [S], nan for a
    seed without any of them."""

    value: float
    left_out: Floats
    seeds: Floats


@dataclass(frozen=True)
class _Kept:
    """Samples scored under each of some methods: which [N] of all, also as a key; their users' numbers [n];
    how many each user has [G]; their count, how many more any of the methods was asked, and the number of
    their users."""

    samples: NDArray[np.bool_]
    key: bytes
    user: NDArray[np.intp]
    sizes: Floats
    n: int
    missing: int
    users: int

    @cached_property
    def df(self) -> float:
        """Degrees of freedom of the variance over users, of whom there are two or more."""
        return user_df(self.sizes[self.sizes > 0])


@dataclass(frozen=True)
class _PairParts:
    """Parts of M methods over the same samples: values [M], without each user [M, G], and of the seeds' mean
    the variance and its degrees of freedom [M], nan where a trained method has a single seed."""

    value: Floats
    left_out: Floats
    variance: Floats
    df: Floats


@dataclass(frozen=True)
class Effect:
    """A method's value, or its gain over another, before its interval; `value` is nan without samples.

    `left_out` [G] is the value without each of `users`, `sizes` [G] their samples, 0 for a user without any.
    `seeds` are the values [S] of each side by training seed, nan for a seed without samples; None for a side
    that was never trained. Differences of less than ROUNDING times `scale` are rounding.
    """

    value: float
    n: int
    missing: int
    users: Sequence[str]
    left_out: Floats
    sizes: Floats
    seeds: tuple[Floats | None, ...]
    scale: float

    @property
    def trained(self) -> list[Floats]:
        """The seeds' values of each trained side."""
        return [side[~np.isnan(side)] for side in self.seeds if side is not None]


class Aligned:
    """Methods on one target, sample by sample: their values, and their gains over each other on the samples
    that are scored under both."""

    def __init__(self, methods: Sequence[Method]) -> None:
        """
        Raises:
            ValueError: a sample belongs to two users.
        """
        self.methods = methods
        users: dict[str, str] = {}
        last: Sampled | None = None
        for seed in (seed for method in methods for seed in method.seeds):
            if last is not None and seed.ids == last.ids and seed.users == last.users:
                continue  # most often all are of the same samples
            last = seed
            for name, user in zip(seed.ids, seed.users, strict=True):
                if users.setdefault(name, user) != user:
                    raise ValueError(f"sample {name!r} belongs to two users: {users[name]!r} and {user!r}")
        places = {name: place for place, name in enumerate(users)}
        self._user, self._names = user_numbers(list(users.values()))
        self._rows, self._asked, self._scored = [], [], []
        known: tuple[Sequence[str], list[int]] = (), []
        for method in methods:
            rows = np.full((len(method.seeds), len(places), method.seeds[0].rows.shape[1]), np.nan)
            asked = np.zeros(len(places), dtype=np.bool_)
            for scores, seed in zip(rows, method.seeds, strict=True):
                if seed.ids != known[0]:
                    known = seed.ids, [places[name] for name in seed.ids]
                scores[known[1]] = seed.rows
                asked[known[1]] = True
            there = ~np.isnan(rows[:, :, 0])
            self._rows.append(rows)
            self._asked.append(asked)
            # A mean can do with a sample that some seed lacks; a corpus score cannot: seeds are compared.
            self._scored.append(there.any(axis=0) if method.statistic is None else there.all(axis=0))
        numbers: dict[tuple[bytes, bytes], int] = {}
        self._alike = [  # methods with the same samples have the same number
            numbers.setdefault((asked.tobytes(), scored.tobytes()), len(numbers))
            for asked, scored in zip(self._asked, self._scored, strict=True)
        ]
        self._kept: dict[tuple[int, ...], _Kept] = {}
        self._parts: dict[tuple[int, bytes], _Part] = {}

    def value(self, method: int) -> Estimate:
        """Of one method, its seeds averaged."""
        return self._estimate(method)

    def gain(self, method: int, over: int) -> Estimate:
        return self._estimate(method, over)

    def pairs(self) -> Iterator[tuple[int, int, float, float | None]]:
        """(i, j, value, p) of `gain(i, j)` for every j < i, a value of 0 if it has none. One computation does
        for all methods j with the same samples."""
        alike: dict[bytes, list[int]] = {}
        for place, scored in enumerate(self._scored):
            alike.setdefault(scored.tobytes(), []).append(place)
        found: dict[tuple[bytes, bytes], _PairParts] = {}
        for i in range(len(self.methods)):
            for mask, places in alike.items():
                others = places[: bisect_left(places, i)]
                if not others:
                    continue
                kept = self._common(i, others[0])
                if not kept.n:
                    yield from ((i, j, 0.0, None) for j in others)
                    continue
                if (mask, kept.key) not in found:
                    found[mask, kept.key] = self._stacked(places, kept)
                stacked = found[mask, kept.key]
                values, p = _tested(self._stacked([i], kept), stacked, len(others), kept.sizes)
                for j, value, chance in zip(others, values.tolist(), p.tolist(), strict=True):
                    yield i, j, 0.0 if isnan(value) else value, None if isnan(chance) else chance

    def _stacked(self, places: Sequence[int], kept: _Kept) -> _PairParts:
        parts = [self._part(place, kept) for place in places]
        spreads = [
            Spread(0.0, 1.0)
            if not self.methods[place].trained
            else seed_spread(seeds)
            if len(seeds := part.seeds[~np.isnan(part.seeds)]) > 1
            else Spread(np.nan, np.nan)
            for place, part in zip(places, parts, strict=True)
        ]
        return _PairParts(
            np.array([part.value for part in parts]),
            np.stack([part.left_out for part in parts]),
            np.array([spread.variance for spread in spreads]),
            np.array([spread.df for spread in spreads]),
        )

    def _common(self, *places: int) -> _Kept:
        """The samples scored under all of these methods; found once for methods with the same samples."""
        key = tuple([self._alike[place] for place in places])
        if key not in self._kept:
            kept: NDArray[np.bool_] = np.all([self._scored[place] for place in places], axis=0)
            asked = np.any([self._asked[place] for place in places], axis=0)
            user = self._user[kept]
            sizes = np.bincount(user, minlength=len(self._names)).astype(np.float64)
            n = int(kept.sum())
            missing, users = int(asked.sum()) - n, int((sizes > 0).sum())
            self._kept[key] = _Kept(kept, kept.tobytes(), user, sizes, n, missing, users)
        return self._kept[key]

    def effect(self, *places: int) -> Effect:
        """The value of one method, or its gain over a second one, on the samples scored under both."""
        kept = self._common(*places)
        sizes = kept.sizes
        if not kept.n:
            return Effect(np.nan, 0, kept.missing, self._names, np.full(len(sizes), np.nan), sizes, (), 0.0)
        parts = [self._part(place, kept) for place in places]
        value, left_out, scale = parts[0].value, parts[0].left_out, abs(parts[0].value)
        for part in parts[1:]:
            value, left_out, scale = value - part.value, left_out - part.left_out, max(scale, abs(part.value))
        seeds = [
            part.seeds if self.methods[place].trained else None
            for place, part in zip(places, parts, strict=True)
        ]
        return Effect(value, kept.n, kept.missing, self._names, left_out, sizes, tuple(seeds), scale)

    def _estimate(self, *places: int) -> Estimate:
        found = self.effect(*places)
        kept = self._common(*places)
        n, missing, users = found.n, found.missing, kept.users
        seeds = min(map(len, found.trained), default=0)
        if isnan(found.value):
            return Estimate(None, n, missing, users, seeds=seeds)
        value = found.value
        df = kept.df if users >= FEWEST_USERS else None
        spread = jackknife(value, found.left_out, found.sizes, found.scale, df)
        alone = len(places) == 1
        share = alone and self.methods[places[0]].share
        if spread is not None and seeds > 1 and (spread.variance or share):
            spread = added([spread, *map(seed_spread, found.trained)])
        if spread is None:
            return Estimate(value, n, missing, users, seeds=seeds)
        ci = share_interval(value, spread, n, users) if share else spread.interval(value)
        return Estimate(value, n, missing, users, spread, ci, None if alone else spread.p(value), seeds)

    def _part(self, place: int, kept: _Kept) -> _Part:
        """Over the samples `kept`; methods with the same samples are compared without computing it again."""
        key = place, kept.key
        if key not in self._parts:
            statistic, rows = self.methods[place].statistic, self._rows[place][:, kept.samples]
            self._parts[key] = (
                _mean(rows[:, :, 0], kept.user, kept.sizes)
                if statistic is None
                else _corpus(statistic, rows, kept.user, len(kept.sizes))
            )
        return self._parts[key]


def _mean(scores: Floats, user: NDArray[np.intp], sizes: Floats) -> _Part:
    """Scores [S, N], each of some seed; a seed's value is by how much its own scores differ from the mean."""
    there = ~np.isnan(scores)
    means = np.where(there, scores, 0.0).sum(axis=0) / there.sum(axis=0)
    totals = np.bincount(user, weights=means, minlength=len(sizes))
    value, left = left_out(ratio, np.stack([totals, sizes], axis=1))
    off = np.full(len(scores), np.nan)
    seen = there.sum(axis=1)
    np.divide(np.where(there, scores - means, 0.0).sum(axis=1), seen, out=off, where=seen > 0)
    return _Part(value, left, value + off)


def _tested(one: _PairParts, others: _PairParts, count: int, sizes: Floats) -> tuple[Floats, Floats]:
    """Gains of a method over the first `count` others, and their p, nan without: as `Aligned._estimate`."""
    from scipy.special import stdtr

    value = one.value - others.value[:count]
    there = sizes > 0
    users = int(there.sum())
    if users < FEWEST_USERS:
        return value, np.full(count, np.nan)
    off = (one.left_out - others.left_out[:count] - value[:, None])[:, there]
    scale = np.maximum(np.maximum(abs(one.value), abs(others.value[:count])), abs(value))
    off[abs(off).max(axis=1) <= ROUNDING * scale] = 0.0
    variance = (users - 1) / users * (off**2).sum(axis=1)
    df = np.full(count, user_df(sizes[there]))
    seeds = one.variance + others.variance[:count]
    among = (seeds >= 0) & (variance > 0)  # not nan: both have several seeds, or no training
    whole = variance + seeds
    parts = variance**2 / df + one.variance**2 / one.df + others.variance[:count] ** 2 / others.df[:count]
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(among, whole**2 / parts, df)
        variance = np.where(among, whole, variance)
        p = 2 * stdtr(df, -abs(value) / np.sqrt(variance))
    return value, np.where(np.isfinite(off).all(axis=1) & (variance > 0), p, np.nan)


def _corpus(statistic: Statistic, rows: Floats, user: NDArray[np.intp], users: int) -> _Part:
    sums = np.zeros((len(rows), users, rows.shape[-1]))
    for seed, of_seed in zip(sums, rows, strict=True):
        np.add.at(seed, user, of_seed)
    found = [left_out(statistic, seed) for seed in sums]
    values = np.array([value for value, _ in found])
    return _Part(float(values.mean()), np.mean([left for _, left in found], axis=0), values)


def holm_adjusted(gains: Sequence[Estimate]) -> list[Estimate]:
    """The gains with their p after the correction over all of them that have one."""
    tested = [gain.p for gain in gains if gain.p is not None]
    adjusted = iter(holm(tested).tolist())
    return [replace(gain, adjusted=next(adjusted)) if gain.p is not None else gain for gain in gains]
