"""Bootstrap intervals clustered by user, and paired comparisons of two cells.

One user's samples are not independent of each other, so whole users are resampled, not samples. Intervals
are percentile intervals (Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13); comparisons are
paired (Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation). Both speak about other
users, not about other training seeds: seeds are averaged first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK = 2**20  # cluster draws held at once: 8 MiB of indices


@dataclass(frozen=True)
class Sampled:
    """Per-sample scores of one metric: one entry per sample in each list, None for a missing score. An id
    that stands several times (several seeds of one evaluation) counts as the mean of its scores."""

    ids: Sequence[str]
    values: Sequence[float | None]
    clusters: Sequence[str]

    def averaged(self) -> Sampled:
        """Each id once, in order of first appearance, with the mean over its scores that are not None.

        Raises:
            ValueError: lists of different lengths, or an id under two clusters.
        """
        scores: dict[str, list[float]] = {}
        clusters: dict[str, str] = {}
        for name, value, cluster in zip(self.ids, self.values, self.clusters, strict=True):
            if clusters.setdefault(name, cluster) != cluster:
                raise ValueError(
                    f"sample {name!r} belongs to two clusters: {clusters[name]!r} and {cluster!r}"
                )
            found = scores.setdefault(name, [])
            if value is not None:
                found.append(value)
        means = [sum(found) / len(found) if found else None for found in scores.values()]
        return Sampled(list(scores), means, list(clusters.values()))


@dataclass(frozen=True)
class Gain:
    """Mean of `a - b` over the `n` ids of `users` users scored in both; `missing` counts the ids scored in
    one of them only, or in neither. `ci` as in `mean_interval`."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    missing: int
    users: int

    @property
    def excludes_zero(self) -> bool:
        return self.ci is not None and (self.ci[0] > 0 or self.ci[1] < 0)


def mean_interval(
    values: Sequence[float | None],
    clusters: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval (lo, hi) of the mean of the values that are not None.

    Each of `resamples` draws takes as many clusters as there are, with replacement, with all their values;
    its mean is over values, so a user with more samples weighs more, as in the plain mean.

    Returns:
        None when fewer than two clusters hold a value: nothing then says how users differ.
    Raises:
        ValueError: `values` and `clusters` differ in length.
    """
    kept = [(v, c) for v, c in zip(values, clusters, strict=True) if v is not None]
    of, names = cluster_numbers([c for _, c in kept])
    sums = np.bincount(of, weights=np.array([v for v, _ in kept], dtype=np.float64), minlength=len(names))
    sizes = np.bincount(of, minlength=len(names)).astype(np.float64)

    def mean(times: Floats) -> Floats:
        means: Floats = times @ sums / (times @ sizes)
        return means

    return bootstrap_interval(mean, len(names), seed=seed, resamples=resamples, level=level)


def cluster_numbers(clusters: Sequence[str]) -> tuple[NDArray[np.intp], list[str]]:
    """The number of each sample's cluster, and the clusters' names in order of first appearance."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[name] for name in clusters], dtype=np.intp), list(numbers)


def bootstrap_interval(
    statistic: Callable[[Floats], Floats],
    clusters: int,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval (lo, hi) of any statistic of whole clusters. `statistic` gets how often
    each cluster was drawn, [B, clusters] for B draws, and returns [B] values, nan where it has none; such
    draws are left out.

    Returns:
        None with fewer than two clusters, or when every draw is left out.
    """
    if clusters < 2:
        return None
    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    step = max(1, BLOCK // clusters)
    for start in range(0, resamples, step):
        block = values[start : start + step]
        drawn = rng.integers(clusters, size=(len(block), clusters))
        drawn += clusters * np.arange(len(block))[:, None]
        times = np.bincount(drawn.ravel(), minlength=len(block) * clusters).reshape(len(block), clusters)
        block[:] = statistic(times.astype(np.float64))
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


def paired_gain(a: Sampled, b: Sampled, *, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Gain:
    """Gain of `a` over `b`: seeds averaged per id, differences taken id by id, users resampled.

    Raises:
        ValueError: an id belongs to different clusters, within a list or across the two.
    """
    first, second = a.averaged(), b.averaged()
    other = dict(zip(second.ids, zip(second.values, second.clusters, strict=True), strict=True))
    differences: list[float] = []
    clusters: list[str] = []
    for name, value, cluster in zip(first.ids, first.values, first.clusters, strict=True):
        base, base_cluster = other.get(name, (None, cluster))
        if base_cluster != cluster:
            raise ValueError(f"sample {name!r} belongs to two clusters: {cluster!r} and {base_cluster!r}")
        if value is not None and base is not None:
            differences.append(value - base)
            clusters.append(cluster)
    n = len(differences)
    return Gain(
        value=sum(differences) / n if n else None,
        ci=mean_interval(differences, clusters, seed=seed, resamples=resamples, level=level),
        n=n,
        missing=len({*first.ids, *second.ids}) - n,
        users=len(set(clusters)),
    )


def chance_to_exclude_zero(users: int, level: float = 0.95) -> float:
    """How often a percentile interval over so many users excludes 0 when the true mean is 0.

    1 - level for many users, more for few: a percentile interval is about mean ± z s sqrt((C-1)/C) / sqrt(C)
    (its narrowness bias: Hesterberg 2015, What Teachers Should Know About the Bootstrap), so it excludes 0
    when Student's |t| with C-1 degrees of freedom exceeds z sqrt((C-1)/C); and whenever all users agree in
    sign, which has chance 2^(1-C).

    Raises:
        ValueError: fewer than two users have no interval.
    """
    if users < 2:
        raise ValueError("an interval needs at least two users")
    z = NormalDist().inv_cdf((1 + level) / 2)
    return max(1 - _student_within(z * sqrt((users - 1) / users), users - 1), 2.0 ** (1 - users))


def _student_within(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's t (Abramowitz & Stegun 26.7.3, 26.7.4)."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (k - 1) / k * cos(angle) ** 2
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
