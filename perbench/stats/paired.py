"""Methods over several training seeds, and their gains over each other: docs/statistics.md, 1 and 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perbench.stats.spread import (
    Floats,
    Spread,
    Statistic,
    added,
    jackknife,
    left_out,
    ratio,
    seed_spread,
    share_interval,
)


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

    @property
    def excludes_zero(self) -> bool:
        return self.p is not None and self.p <= 0.05


@dataclass(frozen=True)
class _Part:
    """A method's statistic over shared samples: as a whole, without each user [G], and by seed [S]."""

    value: float
    left_out: Floats
    seeds: Floats


class _Table:
    """Samples in rows, all seeds of all methods side by side."""

    def __init__(self, methods: Sequence[Method]) -> None:
        every = [seed for method in methods for seed in method.seeds]
        users: dict[str, str] = {}
        for seed in every:
            for name, user in zip(seed.ids, seed.users, strict=True):
                if users.setdefault(name, user) != user:
                    raise ValueError(f"sample {name!r} belongs to two users: {users[name]!r} and {user!r}")
        places = {name: place for place, name in enumerate(users)}
        held = []
        for method in methods:
            width = method.seeds[0].rows.shape[1]
            rows = np.full((len(method.seeds), len(places), width), np.nan)
            for scores, seed in zip(rows, method.seeds, strict=True):
                scores[[places[name] for name in seed.ids]] = seed.rows
            held.append(rows)
        scored = [~np.isnan(rows[:, :, 0]) for rows in held]
        # A mean can do with a sample that some seed lacks; a corpus score cannot, for seeds are compared.
        some = [
            found.any(axis=0) if method.statistic is None else found.all(axis=0)
            for method, found in zip(methods, scored, strict=True)
        ]
        kept = np.all(some, axis=0)
        names = [user for user, keep in zip(users.values(), kept, strict=True) if keep]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.user: NDArray[np.intp] = np.array([numbers[name] for name in names], dtype=np.intp)
        self.sizes = np.bincount(self.user, minlength=len(numbers)).astype(np.float64)
        self.missing = len(places) - len(names)
        self.held = [rows[:, kept] for rows in held]

    def part(self, method: Method, rows: Floats) -> _Part:
        if method.statistic is not None:
            sums = np.zeros((len(rows), len(self.sizes), rows.shape[-1]))
            for seed, of_seed in zip(sums, rows, strict=True):
                np.add.at(seed, self.user, of_seed)
            found = [left_out(method.statistic, seed) for seed in sums]
            values = np.array([value for value, _ in found])
            return _Part(float(values.mean()), np.mean([left for _, left in found], axis=0), values)
        scores = rows[:, :, 0]
        there = ~np.isnan(scores)
        means = np.where(there, scores, 0.0).sum(axis=0) / there.sum(axis=0)
        totals = np.bincount(self.user, weights=means, minlength=len(self.sizes))
        value, left = left_out(ratio, np.stack([totals, self.sizes], axis=1))
        seen = there.any(axis=1)
        off = np.where(there, scores - means, 0.0)[seen].sum(axis=1) / there[seen].sum(axis=1)
        return _Part(value, left, value + off)


def estimate(method: Method) -> Estimate:
    """The value of one method, its seeds averaged.

    Raises:
        ValueError: a sample belongs to two users.
    """
    return _estimate([method])


def gain(a: Method, b: Method) -> Estimate:
    """What `a` gains over `b` on the samples scored under both.

    Raises:
        ValueError: a sample belongs to two users.
    """
    return _estimate([a, b])


def _estimate(methods: Sequence[Method]) -> Estimate:
    table = _Table(methods)
    n, missing, users = len(table.user), table.missing, len(table.sizes)
    seeds = min((len(method.seeds) for method in methods if method.trained), default=0)
    parts = [table.part(method, rows) for method, rows in zip(methods, table.held, strict=True) if n]
    value = parts[0].value - sum(part.value for part in parts[1:]) if n else np.nan
    if np.isnan(value):
        return Estimate(None, n, missing, users, seeds=seeds)
    left = parts[0].left_out - sum(part.left_out for part in parts[1:])
    spread = jackknife(value, left, table.sizes, max(abs(part.value) for part in parts))
    alone = methods[0] if len(methods) == 1 else None
    share = alone is not None and alone.share
    if spread is not None and seeds > 1 and (spread.variance or share):
        trained = [part.seeds for method, part in zip(methods, parts, strict=True) if method.trained]
        spread = added([spread, *map(seed_spread, trained)])
    if spread is None:
        return Estimate(value, n, missing, users, seeds=seeds)
    ci = share_interval(value, spread, n, users) if share else spread.interval(value)
    return Estimate(value, n, missing, users, spread, ci, None if alone else spread.p(value), seeds)
