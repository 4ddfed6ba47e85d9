"""How far an estimate may be off for other users and other trainings: docs/statistics.md, 1 to 3.

The variance comes from leaving out users one at a time (jackknife) and from training seeds; Student's t with
Satterthwaite's degrees of freedom makes the interval and the p-value of it, so that the two never disagree.
Nothing is drawn at random. Arrays have an entry for each of G users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Values [B] of sums [B, K]; nan where undefined."""

LEVEL = 0.95
POWER = 0.8
FEWEST_USERS = 3
"""Two users have an interval only in theory: at one degree of freedom it is 12.7 standard errors wide."""
ROUNDING = 1e-12
"""Smaller differences, relative to the values, are rounding: there is no spread."""


@dataclass(frozen=True)
class Spread:
    """An estimate's variance and its degrees of freedom. At variance 0 nothing says how users differ: there
    is no interval and no p."""

    variance: float
    df: float

    def interval(self, value: float, level: float = LEVEL) -> tuple[float, float] | None:
        """(lo, hi) around the estimate."""
        half = self.quantile((1 + level) / 2) * sqrt(self.variance)
        return (value - half, value + half) if half > 0 else None

    def p(self, value: float) -> float | None:
        """Two-sided, of the hypothesis that the estimate's true value is 0."""
        from scipy.special import stdtr

        return 2 * float(stdtr(self.df, -abs(value) / sqrt(self.variance))) if self.variance > 0 else None

    def detectable(self, level: float = LEVEL) -> float | None:
        """The true difference that such data find in a share POWER of cases."""
        quantiles = self.quantile((1 + level) / 2) + self.quantile(POWER)
        return quantiles * sqrt(self.variance) if self.variance > 0 else None

    def quantile(self, p: float) -> float:
        """Of Student's t."""
        from scipy.special import stdtrit

        return float(stdtrit(self.df, p))


def user_sums(rows: Sequence[Sequence[float]] | Floats, users: Sequence[str]) -> Floats:
    """[G, K] sums of each user's rows [N, K], users in order of first appearance."""
    of, names = user_numbers(users)
    found = np.asarray(rows, dtype=np.float64)
    sums = np.zeros((len(names), found.shape[1] if found.ndim == 2 else 0))
    np.add.at(sums, of, found)
    return sums


def user_numbers(users: Sequence[str]) -> tuple[NDArray[np.intp], list[str]]:
    """The number of each sample's user, and the users in order of first appearance."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(users))}
    return np.array([numbers[name] for name in users], dtype=np.intp), list(numbers)


def user_df(sizes: Floats) -> float:
    """Satterthwaite's degrees of freedom of the jackknife variance, G - 1 for users of one size.

    Args:
        sizes: [G] what each user weighs; at least two above 0.
    """
    w = sizes / sizes.sum()
    a2, e = (w / (1 - w)) ** 2, w / (1 - w) ** 2
    trace = (e - a2).sum()
    return float(trace**2 / ((e**2).sum() - 2 * (a2 * e).sum() + a2.sum() ** 2))


def jackknife(
    value: float, left_out: Floats, sizes: Floats, scale: float | None = None, df: float | None = None
) -> Spread | None:
    """The spread of any statistic over users.

    Args:
        left_out: [G] the statistic without user g.
        sizes: [G] the user's samples, or units counted; users with none are not counted.
        scale: the size of values that differ by no more than rounding, by default that of `value`.
        df: `user_df` of the sizes above 0, if known.

    Returns:
        None under three users, and where the statistic is undefined (nan) as a whole or without one of them.
    """
    least = max(scale or 0.0, abs(value))
    variance = jackknife_variances(np.array([value]), left_out[None], sizes, np.array([least]))[0]
    if np.isnan(variance):
        return None
    return Spread(float(variance), user_df(sizes[sizes > 0]) if df is None else df)


def jackknife_variances(values: Floats, left_out: Floats, sizes: Floats, scale: Floats) -> Floats:
    """The variances [M] of several statistics of the same users: values [M], without each user [M, G], sizes
    [G], scale [M], as in `jackknife`; nan where that returns None."""
    there = sizes > 0
    count = int(there.sum())
    off = np.ascontiguousarray(left_out[:, there]) - values[:, None]
    if count < FEWEST_USERS:
        return np.full(len(values), np.nan)
    off[np.abs(off).max(axis=1) <= ROUNDING * np.maximum(scale, np.abs(values))] = 0.0
    variances: Floats = (count - 1) / count * (off**2).sum(axis=1)
    return np.where(np.isfinite(off).all(axis=1), variances, np.nan)


def intervals(
    values: Floats, spreads: Sequence[Spread | None], level: float = LEVEL
) -> list[tuple[float, float] | None]:
    """`Spread.interval` of many values [M]; None without a spread."""
    from scipy.special import stdtrit

    variances, df = _arrays(spreads)
    half = stdtrit(df, (1 + level) / 2) * np.sqrt(variances)
    ends = zip((values - half).tolist(), (values + half).tolist(), (half > 0).tolist(), strict=True)
    return [(low, high) if wide else None for low, high, wide in ends]


def chance(values: Floats, spreads: Sequence[Spread | None]) -> list[float | None]:
    """`Spread.p` of many values [M]; None without a spread."""
    from scipy.special import stdtr

    variances, df = _arrays(spreads)
    there = variances > 0
    p = 2 * stdtr(df, -np.abs(values) / np.sqrt(np.where(there, variances, 1.0)))
    return [one if known else None for one, known in zip(p.tolist(), there.tolist(), strict=True)]


def _arrays(spreads: Sequence[Spread | None]) -> tuple[Floats, Floats]:
    """Variances and degrees of freedom, nan without a spread."""
    pairs = [(np.nan, np.nan) if one is None else (one.variance, one.df) for one in spreads]
    variances, df = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return variances, df


def left_out(statistic: Statistic, sums: Floats) -> tuple[float, Floats]:
    """A statistic of the sums [G, K] of all users, and its values [G] without each of them."""
    whole = sums.sum(axis=0)
    values = statistic(np.concatenate([whole[None], whole - sums]))
    return float(values[0]), values[1:]


def ratio(sums: Floats) -> Floats:
    """The first sum by the second: a mean, a share."""
    values = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=values, where=sums[:, 1] > 0)
    return values


def mean_spread(sums: Floats, sizes: Floats) -> Spread | None:
    """Of the mean over all samples: [G] sums and numbers of each user's scores."""
    return jackknife(*left_out(ratio, np.stack([sums, sizes], axis=1)), sizes)


def seed_spread(values: Sequence[float] | Floats) -> Spread:
    """Of the mean over two or more training seeds, by each seed's value."""
    return Spread(float(np.var(values, ddof=1)) / len(values), len(values) - 1)


def added(spreads: Sequence[Spread]) -> Spread:
    """Of a sum of independent estimates."""
    variance = sum(one.variance for one in spreads)
    if not variance:
        return spreads[0]
    return Spread(variance, variance**2 / sum(one.variance**2 / one.df for one in spreads))


# ------------------------------------------------------------------------------------- proportions


def wilson(share: float, samples: float, quantile: float) -> tuple[float, float]:
    """Wilson's interval of a share of so many independent samples."""
    q2 = quantile**2 / samples
    middle = (share + q2 / 2) / (1 + q2)
    half = quantile / (1 + q2) * sqrt(share * (1 - share) / samples + q2 / (4 * samples))
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def share_interval(share: float, spread: Spread, samples: int, users: int) -> tuple[float, float]:
    """Of a share of right answers: Wilson's, with as many samples as would give this spread were they
    independent; users in place of samples where no spread shows."""
    effective = min(samples, share * (1 - share) / spread.variance) if spread.variance else users
    return wilson(share, effective, spread.quantile((1 + LEVEL) / 2))


# ------------------------------------------------------------------------------------- many tests


def holm(p: Sequence[float] | Floats) -> Floats:
    """Adjusted p-values [M]: of those up to .05, at most 1 family in 20 holds a false one."""
    found = np.asarray(p, dtype=np.float64)
    order = np.argsort(found, kind="stable")
    steps = np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1))
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def rank_ranges(pairs: Sequence[tuple[int, int, float, float | None]], methods: int) -> list[tuple[int, int]]:
    """The ranks (best, worst) that the pairs leave each of `methods`; 95% of tables hold every true one.

    Args:
        pairs: (i, j, how much better i is than j, p of no difference or None without one), each pair once.
    """
    tested = [(i, j, gain, p) for i, j, gain, p in pairs if p is not None]
    adjusted = holm([p for _, _, _, p in tested])
    beaten, beats = [0] * methods, [0] * methods
    for (i, j, gain, _), p in zip(tested, adjusted, strict=True):
        if p <= 1 - LEVEL:
            better, worse = (i, j) if gain > 0 else (j, i)
            beats[better] += 1
            beaten[worse] += 1
    return [(1 + lost, methods - won) for lost, won in zip(beaten, beats, strict=True)]
