"""Methods over several training seeds, and their gains over each other: docs/statistics.md, 1 and 2."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np
from numpy.typing import NDArray

from perbench.stats.parts import Jackknifed, Kept, PairParts, corpus_part, means_of, tested
from perbench.stats.spread import (
    FEWEST_USERS,
    Floats,
    Spread,
    Statistic,
    added,
    chance,
    holm,
    intervals,
    jackknife_variances,
    share_interval,
    user_numbers,
)

ALPHA = 0.05
AT_ONCE = 2**20
"""Scores whose means are computed together."""
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
        """Whether it differs significantly from 0 after the correction, too."""
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
        self._kept: dict[tuple[int, ...], Kept] = {}
        self._parts: dict[tuple[int, bytes], Jackknifed] = {}
        self._means: dict[tuple[int, int], list[int]] = defaultdict(list)

    def value(self, method: int) -> Estimate:
        """Of one method, its seeds averaged."""
        return self.estimates([(method,)])[0]

    def gain(self, method: int, over: int) -> Estimate:
        return self.estimates([(method, over)])[0]

    def estimates(self, wanted: Sequence[tuple[int, ...]]) -> list[Estimate]:
        """The `value` of each method (i,), or the `gain` of each pair (i, j): many at once cost little more
        than one."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        kept = [self._common(*places) for places in wanted]
        for number, (places, samples) in enumerate(zip(wanted, kept, strict=True)):
            groups[id(samples), len(places)].append(number)
        found: dict[int, Estimate] = {}
        for numbers in groups.values():
            these = self._estimates(kept[numbers[0]], [wanted[number] for number in numbers])
            found.update(zip(numbers, these, strict=True))
        return [found[number] for number in range(len(wanted))]

    def pairs(self) -> Iterator[tuple[int, int, float, float | None]]:
        """(i, j, value, p) of `gain(i, j)` for every j < i, a value of 0 if it has none. One computation does
        for all methods j with the same samples."""
        alike: dict[bytes, list[int]] = {}
        for place, scored in enumerate(self._scored):
            alike.setdefault(scored.tobytes(), []).append(place)
        found: dict[tuple[bytes, bytes], PairParts] = {}
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
                values, p = tested(self._stacked([i], kept), stacked, len(others), kept.sizes)
                for j, value, one in zip(others, values.tolist(), p.tolist(), strict=True):
                    yield i, j, 0.0 if isnan(value) else value, None if isnan(one) else one

    def _stacked(self, places: Sequence[int], kept: Kept) -> PairParts:
        parts = [self._part(place, kept) for place in places]
        spreads = [
            Spread(0.0, 1.0)
            if not self.methods[place].trained
            else part.among
            if len(part.known) > 1
            else Spread(np.nan, np.nan)
            for place, part in zip(places, parts, strict=True)
        ]
        return PairParts(
            np.array([part.value for part in parts]),
            np.stack([part.left_out for part in parts]),
            np.array([spread.variance for spread in spreads]),
            np.array([spread.df for spread in spreads]),
        )

    def _common(self, *places: int) -> Kept:
        """The samples scored under all of these methods; found once for methods with the same samples."""
        key = tuple([self._alike[place] for place in places])
        if key not in self._kept:
            kept: NDArray[np.bool_] = np.all([self._scored[place] for place in places], axis=0)
            asked = np.any([self._asked[place] for place in places], axis=0)
            user = self._user[kept]
            sizes = np.bincount(user, minlength=len(self._names)).astype(np.float64)
            n = int(kept.sum())
            missing, users = int(asked.sum()) - n, int((sizes > 0).sum())
            self._kept[key] = Kept(kept, kept.tobytes(), user, sizes, n, missing, users)
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

    def _estimates(self, kept: Kept, wanted: Sequence[tuple[int, ...]]) -> list[Estimate]:
        """Of P methods, or of P pairs, all with the same samples."""
        n, missing, users = kept.n, kept.missing, kept.users
        if not n:
            return [Estimate(None, n, missing, users) for _ in wanted]
        alone = len(wanted[0]) == 1
        sides = [[self._part(place, kept) for place in side] for side in zip(*wanted, strict=True)]
        values = [np.array([part.value for part in parts]) for parts in sides]
        left = [np.stack([part.left_out for part in parts]) for parts in sides]
        value, left_out = (values[0], left[0]) if alone else (values[0] - values[1], left[0] - left[1])
        scale = np.max(np.abs(values), axis=0)
        variances = jackknife_variances(value, left_out, kept.sizes, scale).tolist()
        spreads: list[Spread | None] = []
        seeds: list[int] = []
        for places, parts, variance in zip(wanted, zip(*sides, strict=True), variances, strict=True):
            trained = [part for place, part in zip(places, parts, strict=True) if self.methods[place].trained]
            seeds.append(min((len(part.known) for part in trained), default=0))
            spread = None if isnan(variance) else Spread(variance, kept.df)
            if (
                spread is not None
                and seeds[-1] > 1
                and (variance or (alone and self.methods[places[0]].share))
            ):
                spread = added([spread, *(part.among for part in trained)])
            spreads.append(spread)
        found = []
        ends = intervals(value, spreads)
        chances = [None] * len(wanted) if alone else chance(value, spreads)
        rows = zip(wanted, value.tolist(), spreads, ends, chances, seeds, strict=True)
        for places, size, spread, ci, p, count in rows:
            if isnan(size):
                found.append(Estimate(None, n, missing, users, seeds=count))
            elif spread is not None and alone and self.methods[places[0]].share:
                ci = share_interval(size, spread, n, users)
                found.append(Estimate(size, n, missing, users, spread, ci, None, count))
            else:
                found.append(Estimate(size, n, missing, users, spread, ci, p, count))
        return found

    def _part(self, place: int, kept: Kept) -> Jackknifed:
        """Over the samples `kept`; methods with the same samples are compared without computing it again."""
        key = place, kept.key
        if key not in self._parts:
            statistic, rows = self.methods[place].statistic, self._rows[place]
            if statistic is not None:
                self._parts[key] = corpus_part(statistic, rows[:, kept.samples], kept.user, len(kept.sizes))
                return self._parts[key]
            alike = self._like(place)  # which are asked for next
            most = max(1, AT_ONCE // max(1, rows.shape[0] * kept.n))
            first = alike.index(place)
            ahead = alike[first : first + most]
            together = [one for one in ahead if (one, kept.key) not in self._parts]
            scores = np.stack([self._rows[one][:, kept.samples, 0] for one in together])
            found = means_of(scores, kept.user, kept.sizes)
            self._parts.update(((one, kept.key), part) for one, part in zip(together, found, strict=True))
        return self._parts[key]

    def _like(self, place: int) -> list[int]:
        """The methods whose scores are means of as many seeds on the same samples."""
        if not self._means:
            for one, (method, number) in enumerate(zip(self.methods, self._alike, strict=True)):
                if method.statistic is None:
                    self._means[number, len(method.seeds)].append(one)
        return self._means[self._alike[place], len(self.methods[place].seeds)]


def holm_adjusted(gains: Sequence[Estimate]) -> list[Estimate]:
    """The gains with their p after the correction over all of them that have one."""
    tested = [gain.p for gain in gains if gain.p is not None]
    adjusted = iter(holm(tested).tolist())
    return [replace(gain, adjusted=next(adjusted)) if gain.p is not None else gain for gain in gains]
