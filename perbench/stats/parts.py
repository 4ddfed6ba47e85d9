"""Parts of values and gains: a statistic over some samples, as a whole and without each user, of many methods
at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perbench.stats.spread import (
    FEWEST_USERS,
    ROUNDING,
    Floats,
    Spread,
    Statistic,
    left_out,
    ratio,
    seed_spread,
    user_df,
)


@dataclass(frozen=True)
class Jackknifed:
    """A method's statistic over some samples: as a whole, without each user [G], and by seed [S], nan for a
    seed without any of them."""

    value: float
    left_out: Floats
    seeds: Floats

    @cached_property
    def known(self) -> Floats:
        """The values of its seeds that have one."""
        return self.seeds[~np.isnan(self.seeds)]

    @cached_property
    def among(self) -> Spread:
        """Of two or more seeds."""
        return seed_spread(self.known)


@dataclass(frozen=True)
class Kept:
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
class PairParts:
    """Parts of M methods over the same samples: values [M], without each user [M, G], and of the seeds' mean
    the variance and its degrees of freedom [M], nan where a trained method has a single seed."""

    value: Floats
    left_out: Floats
    variance: Floats
    df: Floats


def means_of(scores: Floats, user: NDArray[np.intp], sizes: Floats) -> list[Jackknifed]:
    """Of M methods, scores [M, S, N], each of some seed; a seed's value is by how much its own scores differ
    from the mean."""
    there = ~np.isnan(scores)
    means = np.where(there, scores, 0.0).sum(axis=1) / there.sum(axis=1)
    totals = [np.bincount(user, weights=one, minlength=len(sizes)) for one in means]
    sums = np.stack([np.stack([one, sizes], axis=1) for one in totals])
    whole = sums.sum(axis=1, keepdims=True)
    values = np.concatenate([whole, whole - sums], axis=1)
    ratios = ratio(values.reshape(-1, 2)).reshape(len(scores), -1)
    off = np.full(scores.shape[:2], np.nan)
    seen = there.sum(axis=2)
    np.divide(np.where(there, scores - means[:, None], 0.0).sum(axis=2), seen, out=off, where=seen > 0)
    parts = zip(ratios[:, 0].tolist(), ratios[:, 1:], ratios[:, :1] + off, strict=True)
    return [Jackknifed(value, left, seeds) for value, left, seeds in parts]


def tested(one: PairParts, others: PairParts, count: int, sizes: Floats) -> tuple[Floats, Floats]:
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


def corpus_part(statistic: Statistic, rows: Floats, user: NDArray[np.intp], users: int) -> Jackknifed:
    sums = np.zeros((len(rows), users, rows.shape[-1]))
    for seed, of_seed in zip(sums, rows, strict=True):
        np.add.at(seed, user, of_seed)
    found = [left_out(statistic, seed) for seed in sums]
    values = np.array([value for value, _ in found])
    return Jackknifed(float(values.mean()), np.mean([left for _, left in found], axis=0), values)
