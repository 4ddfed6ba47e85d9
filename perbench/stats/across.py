"""The mean of several gains, on several targets or from several sources: docs/statistics.md, 3."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perbench.stats.paired import Effect, Estimate
from perbench.stats.spread import (
    FEWEST_USERS,
    ROUNDING,
    Floats,
    Spread,
    added,
    seed_spread,
    user_df,
)


@dataclass(frozen=True)
class Part:
    """One of the gains. Those of a `column` are over the same samples; `sides` are the trainings of the
    method and of what it is compared with, `seeds` the names of their seeds."""

    effect: Effect
    column: Hashable
    sides: tuple[Hashable, Hashable]
    seeds: tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class _Column:
    """What each user of a column adds to the mean when left out, and the user's share of the samples."""

    moved: dict[str, float]
    shares: dict[str, float]

    @property
    def spread(self) -> Spread:
        return _users_spread(self.moved, self.shares)


def mean_gain(parts: Sequence[Part]) -> Estimate:
    """The mean of the gains, each of the same weight, with its interval.

    Users are the units, whatever number of gains they are in; those of columns without a user in common are
    independent. A training that is behind several gains varies them together: its seeds' values are summed
    over these before their variance is taken. There is no interval if one gain has fewer than three users or
    is undefined without one of them.
    """
    n, missing = (sum(getattr(part.effect, name) for part in parts) for name in ("n", "missing"))
    users = {name for part in parts for name, _, _ in _users(part.effect)}
    seeds = list(_seeds(parts))
    fewest = min(map(len, seeds), default=0)
    values = [part.effect.value for part in parts]
    if not parts or np.isnan(values).any():
        return Estimate(None, n, missing, len(users), seeds=fewest)
    value = float(np.mean(values))
    columns = _columns(parts)
    if columns is None:
        return Estimate(value, n, missing, len(users), seeds=fewest)
    spread = added([_joint(group) for group in _connected(columns)])
    if fewest > 1 and spread.variance:
        spread = added([spread, *map(seed_spread, seeds)])
    return Estimate(value, n, missing, len(users), spread, spread.interval(value), spread.p(value), fewest)


def _users(effect: Effect) -> Iterator[tuple[str, float, float]]:
    """Each user with samples: the name, the value without the user, the number of samples."""
    for name, left, size in zip(effect.users, effect.left_out, effect.sizes, strict=True):
        if size > 0:
            yield name, float(left), float(size)


def _columns(parts: Sequence[Part]) -> list[_Column] | None:
    """None if a gain has no interval of its own."""
    moved: dict[Hashable, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    sizes: dict[Hashable, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for part in parts:
        found, value = list(_users(part.effect)), part.effect.value
        off = np.array([left for _, left, _ in found]) - value
        if len(found) < FEWEST_USERS or not np.isfinite(off).all():
            return None
        if np.abs(off).max() <= ROUNDING * max(part.effect.scale, abs(value)):
            off = np.zeros_like(off)
        for (name, _, size), moves in zip(found, off.tolist(), strict=True):
            moved[part.column][name] += moves / len(parts)
            sizes[part.column][name] += size
    whole = {column: sum(found.values()) for column, found in sizes.items()}
    return [
        _Column(moved[column], {name: size / whole[column] for name, size in sizes[column].items()})
        for column in moved
    ]


def _connected(columns: Sequence[_Column]) -> list[list[_Column]]:
    """Columns in groups that have no user in common."""
    groups: list[tuple[set[str], list[_Column]]] = []
    for column in columns:
        names, held = set(column.moved), [column]
        for group in [group for group in groups if names & group[0]]:
            groups.remove(group)
            names, held = names | group[0], [*group[1], *held]
        groups.append((names, held))
    return [held for _, held in groups]


def _joint(columns: Sequence[_Column]) -> Spread:
    """A user's effects on columns are added before they are squared; the degrees of freedom are the smaller
    of those of the columns' sum and of the users' mean shares."""
    if len(columns) == 1:
        return columns[0].spread
    moved: dict[str, float] = defaultdict(float)
    shares: dict[str, float] = defaultdict(float)
    for column in columns:
        for name, moves in column.moved.items():
            moved[name] += moves
            shares[name] += column.shares[name] / len(columns)
    whole = _users_spread(moved, shares)
    return Spread(whole.variance, min(whole.df, added([column.spread for column in columns]).df))


def _users_spread(moved: dict[str, float], shares: dict[str, float]) -> Spread:
    count = len(moved)
    variance = (count - 1) / count * sum(moves**2 for moves in moved.values())
    return Spread(variance, user_df(np.array([shares[name] for name in moved])))


def _seeds(parts: Sequence[Part]) -> Iterator[Floats]:
    """What each training's seeds add to the mean, for those seeds that are in all of its gains."""
    found: dict[Hashable, list[dict[int, float]]] = defaultdict(list)
    for part in parts:
        for training, names, values in zip(part.sides, part.seeds, part.effect.seeds, strict=False):
            if values is not None:
                by_name = dict(zip(names, values.tolist(), strict=True))
                found[training].append({name: v for name, v in by_name.items() if v == v})
    for held in found.values():
        common = sorted(set.intersection(*map(set, held)))
        yield np.array([sum(values[name] for values in held) / len(parts) for name in common])
