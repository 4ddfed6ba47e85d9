"""The mean of several gains, on several targets or from several sources: docs/statistics.md, 3."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

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
    columns = list(_columns(parts))
    users = len({name for column in columns for name in column.users})
    if not parts or np.isnan(values).any():
        return Estimate(None, n, missing, users, seeds=fewest)
    value = float(np.mean(values))
    if not all(_has_interval(part.effect) for part in parts):
        return Estimate(value, n, missing, users, seeds=fewest)
    spread = added([_joint(group) for group in _connected(columns)])
    if fewest > 1 and spread.variance:
        spread = added([spread, *map(seed_spread, seeds)])
    return Estimate(value, n, missing, users, spread, spread.interval(value), spread.p(value), fewest)


def _has_interval(effect: Effect) -> bool:
    there = effect.sizes > 0
    return int(there.sum()) >= FEWEST_USERS and bool(np.isfinite(effect.left_out[there]).all())


def _columns(parts: Sequence[Part]) -> Iterator[_Column]:
    held: dict[Hashable, list[Effect]] = defaultdict(list)
    for part in parts:
        held[part.column].append(part.effect)
    for effects in held.values():
        lists = {id(effect.users): effect.users for effect in effects}  # most often one list of all of them
        number = {name: i for i, name in enumerate(dict.fromkeys(chain.from_iterable(lists.values())))}
        places = {
            key: np.array([number[name] for name in users], dtype=np.intp) for key, users in lists.items()
        }
        moved, sizes = np.zeros((2, len(number)))
        for effect in effects:
            there = effect.sizes > 0
            at = places[id(effect.users)][there]
            moved[at] += _off(effect, there) / len(parts)
            sizes[at] += effect.sizes[there]
        seen = sizes > 0
        names = [name for name, found in zip(number, seen.tolist(), strict=True) if found]
        yield _Column(names, moved[seen], sizes[seen] / sizes.sum())


def _off(effect: Effect, there: NDArray[np.bool_]) -> Floats:
    """By how much the value moves without each user; 0 where it is rounding."""
    off: Floats = effect.left_out[there] - effect.value
    if len(off) and np.abs(off).max() <= ROUNDING * max(effect.scale, abs(effect.value)):
        return np.zeros_like(off)
    return off


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
    whole = _Column(list(moved), np.array(list(moved.values())), np.array(list(shares.values()))).spread
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
