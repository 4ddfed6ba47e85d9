"""The mean of several gains, on several targets or from several sources: docs/statistics.md, 3."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

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
    """What each user [G] of a column adds to the mean when left out, and the user's share of the samples."""

    users: Sequence[str]
    moved: Floats
    shares: Floats
    complete: bool
    """Whether each of its gains has enough users for an interval, and is defined without any of them."""

    @property
    def spread(self) -> Spread:
        count = len(self.users)
        return Spread(float((count - 1) / count * (self.moved**2).sum()), user_df(self.shares))


def mean_gain(parts: Sequence[Part]) -> Estimate:
    """The mean of the gains, each of the same weight, with its interval.

    Users are the units, whatever number of gains they are in; those of columns without a user in common are
    independent. A training that is behind several gains varies them together: its seeds' values are summed
    over these before their variance is taken. There is no interval if one gain has fewer than three users or
    is undefined without one of them.
    """
    n, missing = (sum(getattr(part.effect, name) for part in parts) for name in ("n", "missing"))
    seeds = list(_seeds(parts))
    fewest = min(map(len, seeds), default=0)
    values = [part.effect.value for part in parts]
    columns = [_column(held, len(parts)) for held in _by_column(parts)]
    users = len({name for column in columns for name in column.users})
    if not parts or np.isnan(values).any():
        return Estimate(None, n, missing, users, seeds=fewest)
    value = float(np.mean(values))
    if not all(column.complete for column in columns):
        return Estimate(value, n, missing, users, seeds=fewest)
    spread = added([_joint(group) for group in _connected(columns)])
    if fewest > 1 and spread.variance:
        spread = added([spread, *map(seed_spread, seeds)])
    return Estimate(value, n, missing, users, spread, spread.interval(value), spread.p(value), fewest)


def _by_column(parts: Sequence[Part]) -> list[list[Effect]]:
    held: dict[Hashable, list[Effect]] = defaultdict(list)
    for part in parts:
        held[part.column].append(part.effect)
    return list(held.values())


def _column(effects: Sequence[Effect], count: int) -> _Column:
    """The gains of one column, of `count` gains in all. A user's moves that are rounding are 0."""
    lists: dict[int, list[Effect]] = defaultdict(list)  # most often one list of users for all of them
    for effect in effects:
        lists[id(effect.users)].append(effect)
    users = dict.fromkeys(chain.from_iterable(alike[0].users for alike in lists.values()))
    number = {name: i for i, name in enumerate(users)}
    moved, sizes = np.zeros((2, len(number)))
    complete = True
    for alike in lists.values():
        weights = np.stack([effect.sizes for effect in alike])
        values = np.array([effect.value for effect in alike])
        scale = np.array([max(effect.scale, abs(effect.value)) for effect in alike])
        there = weights > 0
        off = np.where(there, np.stack([effect.left_out for effect in alike]) - values[:, None], 0.0)
        off[np.abs(off).max(axis=1, initial=0.0) <= ROUNDING * scale] = 0.0
        complete &= int(there.sum(axis=1).min()) >= FEWEST_USERS and bool(np.isfinite(off).all())
        at = np.array([number[name] for name in alike[0].users], dtype=np.intp)
        moved[at] += (off / count).sum(axis=0)
        sizes[at] += weights.sum(axis=0)
    seen = sizes > 0
    names = [name for name, found in zip(number, seen.tolist(), strict=True) if found]
    return _Column(names, moved[seen], sizes[seen] / sizes.sum(), complete)


def _connected(columns: Sequence[_Column]) -> list[list[_Column]]:
    """Columns in groups that have no user in common."""
    groups: list[tuple[set[str], list[_Column]]] = []
    for column in columns:
        names, held = set(column.users), [column]
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
        for name, moves, share in zip(
            column.users, column.moved.tolist(), column.shares.tolist(), strict=True
        ):
            moved[name] += moves
            shares[name] += share / len(columns)
    sums, weights = (np.array(list(found.values())) for found in (moved, shares))
    whole = _Column(list(moved), sums, weights, complete=True).spread
    return Spread(whole.variance, min(whole.df, added([column.spread for column in columns]).df))


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
