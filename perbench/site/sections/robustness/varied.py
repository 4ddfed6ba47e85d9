"""Which numbers the rows of the matrix vary, and what tests say of the scores along them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

from perbench.contracts.results import Matrix, ModelRow, Outcome, TargetColumn
from perbench.site.format import variation
from perbench.stats.paired import Estimate, holm_adjusted

OWN = "training."
"""Before the name of a key of `training` that a trainer sets for itself."""


class Whose(NamedTuple):
    """Models that differ in nothing but the numbers looked at; `words` are their other settings, `training`
    those of training as JSON."""

    model: str
    trainer: str
    source: str
    words: str
    training: str

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.trainer, self.words)))


@dataclass(frozen=True)
class Line:
    """Models that differ in the number `key`, by its value, in order."""

    key: str
    whose: Whose
    points: tuple[tuple[float, ModelRow], ...]


@dataclass(frozen=True)
class Grid:
    """Models that differ in two numbers, by both."""

    keys: tuple[str, str]
    whose: Whose
    cells: Mapping[tuple[float, float], ModelRow]

    def values(self, place: int) -> list[float]:
        """Of the first or the second number."""
        return sorted({found[place] for found in self.cells})


@dataclass(frozen=True)
class Along:
    """A line on a target: its outcomes by value, and the differences of all pairs of them."""

    line: Line
    column: TargetColumn
    outcomes: tuple[tuple[float, Outcome], ...]
    pairs: tuple[tuple[float, float, Estimate], ...]

    @property
    def scored(self) -> dict[float, float]:
        """The scores by value, of those that have one."""
        means = ((at, one.mean) for at, one in self.outcomes)
        return {at: mean.value for at, mean in means if mean is not None and mean.value is not None}

    @property
    def tested(self) -> bool:
        return any(gain.adjusted is not None for _, _, gain in self.pairs)

    @property
    def apart(self) -> tuple[float, float] | None:
        """The two values that differ most of those that a corrected test tells apart."""
        apart = [(abs(gain.value or 0.0), a, b) for a, b, gain in self.pairs if gain.remains]
        return max(apart)[1:] if apart else None

    @property
    def own(self) -> bool:
        """Evaluated on the task trained on."""
        return any(one.own for _, one in self.outcomes)


class Varied:
    """The numbers that the trained rows of a matrix vary."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._rows = [row for row, _ in matrix.rows if row.trainer is not None]
        self._own = {
            (row.trainer or "", name): place
            for row, outcomes in matrix.rows
            for record in [record for outcome in outcomes for record in outcome.records][:1]
            for place, name in enumerate(record.labels.trainer_params)
        }
        """The places of hyperparameters in the order that the matrix names them."""
        self.shared = {name for row in self._rows for name in json.loads(row.training)}
        """Keys of training, which all trainers have."""

    @cached_property
    def _seen(self) -> dict[str, dict[str, set[str]]]:
        """The values of each setting as JSON, by trainer."""
        seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for row in self._rows:
            for name, value in _settings(row).items():
                seen[row.trainer or ""][name].add(json.dumps(value, sort_keys=True))
        return seen

    def numbers(self, trainer: str) -> list[str]:
        """The numbers that a trainer's rows vary, its own hyperparameters first."""
        found = (
            name
            for name, values in self._seen[trainer].items()
            if sum(_is_number(json.loads(value)) for value in values) > 1
        )
        return sorted(found, key=lambda name: (name in self.shared, self._own.get((trainer, name), 0), name))

    def lines(self) -> dict[str, list[Line]]:
        """By the number: models that vary it alone, and all models over keys of training."""
        found: dict[str, list[Line]] = {}
        for key in dict.fromkeys(name for trainer in self._seen for name in self.numbers(trainer)):
            groups: dict[Whose, dict[float, ModelRow]] = defaultdict(dict)
            for row in self._rows:
                numbers, held = self.numbers(row.trainer or ""), _settings(row)
                if key in numbers and _is_number(held.get(key)) and (len(numbers) == 1 or key in self.shared):
                    groups[self._whose(row, (key,))][held[key]] = row
            drawn = [
                Line(key, whose, tuple(sorted(points.items(), key=lambda pair: pair[0])))
                for whose, points in groups.items()
                if len(points) > 1
            ]
            if drawn:
                found[key] = drawn
        return found

    def grids(self) -> list[Grid]:
        """Of models that vary two numbers or more, over the first two."""
        groups: dict[tuple[tuple[str, str], Whose], dict[tuple[float, float], ModelRow]] = defaultdict(dict)
        for row in self._rows:
            held, numbers = _settings(row), self.numbers(row.trainer or "")
            if len(numbers) > 1 and all(_is_number(held.get(name)) for name in numbers[:2]):
                first, second = numbers[:2]
                whose = self._whose(row, (first, second))
                groups[(first, second), whose][held[first], held[second]] = row
        return [Grid(*group, cells) for group, cells in groups.items() if len(cells) > 1]

    def _whose(self, row: ModelRow, without: Sequence[str]) -> Whose:
        differing = (name for name, values in self._seen[row.trainer or ""].items() if len(values) > 1)
        held = _settings(row)
        rest = {name: held[name] for name in differing if name in held and name not in without}
        training = {name: value for name, value in json.loads(row.training).items() if name not in without}
        words = ", ".join(filter(None, (variation(rest), *row.apart)))
        return Whose(
            row.model, row.trainer or "", row.source or "", words, json.dumps(training, sort_keys=True)
        )

    def along(self, lines: Sequence[Line]) -> list[Along]:
        """Each line on each target on which two of its models have scores; the tests of pairs are corrected
        over all of them."""
        outcomes = dict(self._matrix.rows)
        drawn = []
        for line in lines:
            for place, column in enumerate(self._matrix.columns):
                paired = self._matrix.paired[place]
                places = [(at, paired.places[row]) for at, row in line.points if row in paired.places]
                pairs = [(a, b, paired.scores.gain(j, i)) for (a, i), (b, j) in combinations(places, 2)]
                found = tuple((at, outcomes[row][place]) for at, row in line.points)
                drawn.append(Along(line, column, found, tuple(pairs)))
        drawn = [one for one in drawn if len(one.scored) > 1]
        corrected = iter(holm_adjusted([gain for one in drawn for _, _, gain in one.pairs]))
        return [
            Along(one.line, one.column, one.outcomes, tuple((a, b, next(corrected)) for a, b, _ in one.pairs))
            for one in drawn
        ]


def _settings(row: ModelRow) -> dict[str, Any]:
    """What the matrix varies of a row's training and trainer, by name."""
    own = {name.removeprefix(OWN): value for name, value in json.loads(row.params).items()}
    return {**json.loads(row.training), **own}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
