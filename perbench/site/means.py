"""Methods over all their sources and targets: mean gains by kind of task, with intervals and ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from perbench.contracts.results import Matrix, ModelRow, Outcome, TargetColumn
from perbench.site.rows import Baselines
from perbench.stats.across import Part, mean_gain
from perbench.stats.paired import Effect, Estimate, holm_adjusted
from perbench.stats.spread import rank_ranges
from perbench.store.record import Better

Key = tuple[str | None, ...]


@dataclass(frozen=True)
class TaskKind:
    """Columns whose gains are averaged: of one metric of one protocol. `places` are theirs in the matrix."""

    title: str
    metric: str
    better: Better
    digits: int
    places: tuple[int, ...]


@dataclass(frozen=True)
class MeanGain:
    """A method's mean gain over a kind of task: over `of` gains if all were there. None for the baseline and
    without any gain."""

    estimate: Estimate | None
    gains: int
    of: int
    rank: tuple[int, int] | None = None
    """The best and worst rank among the methods of the model that the data leave possible."""


@dataclass(frozen=True)
class Standing:
    """A method on a model: its rows, one for each source, and its mean gains, one for each kind. `group` is
    equal for those that are ranked together; `done` of `planned` pairs of source and target have a score."""

    rows: tuple[ModelRow, ...]
    group: Key
    baseline: bool
    means: tuple[MeanGain, ...]
    done: int
    planned: int

    @property
    def row(self) -> ModelRow:
        """What all rows share, but for their sources."""
        return self.rows[0]

    @property
    def variation(self) -> str:
        found = {row.variation for row in self.rows}
        return found.pop() if len(found) == 1 else ""


def kinds_of(matrix: Matrix) -> list[TaskKind]:
    """Those with the most columns first; without metrics of which neither side is better."""
    places: dict[tuple[str, str | None, Better | None, str], list[int]] = defaultdict(list)
    for place, column in enumerate(matrix.columns):
        if column.better is not None and column.headline is not None:
            places[column.kind].append(place)
    found = [_kind(matrix.columns, held) for held in places.values()]
    return sorted(found, key=lambda kind: -len(kind.places))


def _kind(columns: Sequence[TargetColumn], places: Sequence[int]) -> TaskKind:
    first = columns[places[0]]
    assert first.better is not None
    metric = first.metric or first.headline or ""
    digits = max(columns[place].digits for place in places)
    return TaskKind(first.task, metric, first.better, digits, tuple(places))


def standings(matrix: Matrix, kinds: Sequence[TaskKind]) -> list[Standing]:
    """The methods of each model, the best first by the first kind; empty without a baseline."""
    key = "standings", *kinds
    if key not in matrix.known:
        matrix.known[key] = _standings(matrix, kinds)
    found: list[Standing] = matrix.known[key]
    return found


def _standings(matrix: Matrix, kinds: Sequence[TaskKind]) -> list[Standing]:
    if matrix.baseline is None:
        return []
    held: dict[Key, dict[Key, list[ModelRow]]] = defaultdict(lambda: defaultdict(list))
    for row, _ in matrix.rows:
        if row.trainer is not None:
            method = (row.trainer, row.params, row.method, row.apart[2], row.chosen_on)
            held[_group(row)][method].append(row)
    found: list[Standing] = []
    for group, methods in held.items():
        table = _Peers(matrix, group, [tuple(rows) for rows in methods.values()])
        found += table.standings(kinds)
    return _ordered(_corrected(found))


def _group(row: ModelRow) -> Key:
    return row.model, row.model_label, row.start, row.training, row.apart[1]


def _corrected(found: Sequence[Standing]) -> list[Standing]:
    """With Holm's correction over all mean gains."""
    estimates = [mean.estimate for one in found for mean in one.means if mean.estimate is not None]
    adjusted = iter(holm_adjusted(estimates))
    return [
        replace(
            one,
            means=tuple(
                replace(mean, estimate=next(adjusted)) if mean.estimate is not None else mean
                for mean in one.means
            ),
        )
        for one in found
    ]


def _ordered(found: Sequence[Standing]) -> list[Standing]:
    """By model, then by the first kind's ranks and mean gains; the baseline has a gain of 0."""
    groups = list(dict.fromkeys(one.group for one in found))

    def place(one: Standing) -> tuple[int, int, float, str, str]:
        mean = next(iter(one.means), None)
        value = mean.estimate.value if mean is not None and mean.estimate is not None else None
        size = 0.0 if one.baseline else value if value is not None else float("-inf")
        best = mean.rank[0] if mean is not None and mean.rank is not None else len(found) + 1
        return groups.index(one.group), best, -size, one.row.trainer or "", one.variation

    return sorted(found, key=place)


class _Peers:
    """The methods of one model under the same settings; each has a row per source."""

    def __init__(self, matrix: Matrix, key: Key, methods: Sequence[tuple[ModelRow, ...]]) -> None:
        self.matrix, self.key, self.methods = matrix, key, methods
        self.cells: Mapping[ModelRow, Sequence[Outcome]] = dict(matrix.rows)
        self.bases = Baselines(self.cells, matrix.baseline)

    def standings(self, kinds: Sequence[TaskKind]) -> Iterator[Standing]:
        ranks = [self._ranks(kind) for kind in kinds]
        planned = self._planned(range(len(self.matrix.columns)))
        for place, rows in enumerate(self.methods):
            means = tuple(
                replace(self._mean(rows, kind), rank=of_kind.get(place))
                for kind, of_kind in zip(kinds, ranks, strict=True)
            )
            done = [one for row in rows for one in self.cells[row] if one.mean and one.mean.value is not None]
            yield Standing(rows, self.key, self._is_baseline(rows), means, len(done), planned)

    def _planned(self, places: Sequence[int]) -> int:
        """Over the sources of all methods, how many columns their models are evaluated on."""
        sources = {_place(row): row for rows in self.methods for row in rows}
        return sum(self.matrix.meant(row, place) for row in sources.values() for place in places)

    def _is_baseline(self, rows: Sequence[ModelRow]) -> bool:
        return all(self.bases.of(row) == row for row in rows)

    def _mean(self, rows: Sequence[ModelRow], kind: TaskKind) -> MeanGain:
        parts, of = [], self._planned(kind.places)
        for row in rows:
            base = self.bases.of(row)
            for place in kind.places:
                gain = self.cells[row][place].gain
                if base is not None and base != row and gain is not None and gain.value is not None:
                    parts.append(self._part(row, base, place) or _without_samples(gain, row, base, place))
        return MeanGain(mean_gain(parts) if parts else None, len(parts), of)

    def _part(self, row: ModelRow, over: ModelRow, place: int) -> Part | None:
        """A gain of one row over another; None without samples of both."""
        if place >= len(self.matrix.paired):
            return None
        scores, places = self.matrix.paired[place].scores, self.matrix.paired[place].places
        if row not in places or over not in places:
            return None
        pair = places[row], places[over]
        effect = scores.effect(*pair)
        if np.isnan(effect.value):
            return None
        names = scores.methods[pair[0]].names, scores.methods[pair[1]].names
        return Part(effect, place, (row, over), names)

    def _ranks(self, kind: TaskKind) -> dict[int, tuple[int, int]]:
        """By the method's place; empty if no pair of methods has a test."""
        pairs = []
        for i, j in combinations(range(len(self.methods)), 2):
            parts = [
                part
                for row in self.methods[i]
                for over in self.methods[j]
                if _place(row) == _place(over)
                for place in kind.places
                if (part := self._part(row, over, place)) is not None
            ]
            if parts:
                pairs.append((i, j, mean_gain(parts)))
        known = sorted({place for i, j, _ in pairs for place in (i, j)})
        if not any(found.p is not None for *_, found in pairs):
            return {}
        sign = -1 if kind.better == "lower" else 1
        ranges = rank_ranges(
            [(known.index(i), known.index(j), sign * (found.value or 0.0), found.p) for i, j, found in pairs],
            len(known),
        )
        return dict(zip(known, ranges, strict=True))


def _place(row: ModelRow) -> Key:
    """Rows are compared if they were trained from the same model on the same data with the same settings."""
    return row.start, row.source, row.setting, row.training


def _without_samples(gain: Estimate, row: ModelRow, base: ModelRow, place: int) -> Part:
    """A difference of means, which has no interval."""
    none = np.empty(0)
    value = gain.value if gain.value is not None else np.nan
    effect = Effect(value, gain.n, gain.missing, (), none, none, (), 0.0)
    return Part(effect, place, (row, base), ((), ()))
