"""Comparisons of methods with the baseline, one per model, source and target, and what their tests say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

from perbench.contracts.results import Matrix, ModelRow, Outcome, TargetColumn
from perbench.site.rows import Baselines
from perbench.stats.paired import ALPHA, Estimate

UNTESTED = "without a test (under 3 users, no spread, or no samples to pair)"
ABSENT = "without a record"


@dataclass(frozen=True)
class Comparison:
    """A tested gain."""

    row: ModelRow
    column: TargetColumn
    gain: Estimate
    own: bool = False
    """Trained on the task of the target."""

    @property
    def side(self) -> int:
        """1 if the method beats the baseline after Holm's correction, -1 if it loses, else 0."""
        if not self.gain.remains or not self.gain.value or self.column.better is None:
            return 0
        return 1 if (self.gain.value > 0) == (self.column.better == "higher") else -1

    def where(self, several_models: bool) -> str:
        """ "tiny, s → t", with what else tells the row from others."""
        model = self.row.model if several_models else ""
        return ", ".join(
            filter(None, (model, self.row.variation, f"{self.row.source} → {self.column.title}"))
        )

    def blunt(self, tests: int) -> bool:
        """Whether a true difference as large as the standard deviation of users would be missed in more than
        one of five such tables of so many tests."""
        spread = self.gain.spread
        if spread is None or not spread.variance:
            return True
        least = spread.detectable(1 - ALPHA / tests) or 0.0
        return least > sqrt(spread.variance * self.gain.users)


@dataclass(frozen=True)
class WinLoss:
    """How a method's comparisons came out; `missing` have no test. `trainer` is the method's plugin."""

    method: str
    trainer: str
    won: int
    open: int
    lost: int
    missing: int

    @property
    def tested(self) -> int:
        return self.won + self.open + self.lost

    @property
    def total(self) -> int:
        return self.tested + self.missing


@dataclass
class Comparisons:
    """All comparisons of a matrix. Those of metrics of which neither side is better are `neither`; `left_out`
    counts what has no test, by the reason."""

    over: str
    methods: dict[str, list[Comparison]] = field(default_factory=lambda: defaultdict(list))
    """By the method's name, those with a better side."""
    neither: list[Comparison] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    """By the method's name."""
    trainers: dict[str, str] = field(default_factory=dict)

    @property
    def directed(self) -> list[Comparison]:
        return [one for found in self.methods.values() for one in found]

    @property
    def tested(self) -> list[Comparison]:
        return [*self.directed, *self.neither]

    def strongest(self) -> list[str]:
        """The methods with a comparison, by how much more of theirs they win than lose."""

        def strength(name: str) -> tuple[float, int, str]:
            found = self.methods[name]
            return -sum(one.side for one in found) / len(found), -sum(one.side > 0 for one in found), name

        return sorted((name for name, found in self.methods.items() if found), key=strength)

    def tallies(self) -> tuple[WinLoss, ...]:
        """The strongest first, those without a test last."""
        tested = self.strongest()
        return tuple(self._tally(name) for name in (*tested, *sorted(self.trainers.keys() - tested)))

    def _tally(self, name: str) -> WinLoss:
        won, level, lost = (sum(one.side == side for one in self.methods[name]) for side in (1, 0, -1))
        return WinLoss(name, self.trainers[name], won, level, lost, self.missing[name])


def compare(matrix: Matrix, over: str) -> Comparisons:
    """What is compared with the baseline `over`. A method without a row where the baseline has one, of the
    same model, source and settings, misses all targets there."""
    found, cells = Comparisons(over), dict(matrix.rows)
    rows = list(cells)
    bases = Baselines(rows, over)
    for row, outcomes in matrix.rows:
        base = bases.of(row)
        if row.trainer is None or base == row:
            continue
        name = method_of(row, over)
        found.trainers[name] = row.trainer
        others: Sequence[Outcome | None] = cells[base] if base is not None else [None] * len(outcomes)
        for place, (column, outcome, other) in enumerate(zip(matrix.columns, outcomes, others, strict=True)):
            if not matrix.meant(row, place):
                continue
            gain = outcome.gain
            if gain is not None and gain.adjusted is not None:
                one = Comparison(row, column, gain, outcome.own)
                (found.neither if column.better is None else found.methods[name]).append(one)
            else:
                found.left_out[_reason(outcome, other, over)] += 1
                found.missing[name] += column.better is not None
    for name in _absent(rows, found.trainers, over):
        found.left_out[ABSENT] += len(matrix.columns)
        found.missing[name] += sum(column.better is not None for column in matrix.columns)
    return found


def method_of(row: ModelRow, over: str | None) -> str:
    """All rows of a trainer are one method; other rows of the baseline go by their settings."""
    return f"{row.trainer} ({row.variation})" if row.trainer == over else row.trainer or ""


def _absent(rows: Sequence[ModelRow], trainers: dict[str, str], over: str) -> Iterator[str]:
    """A method for each of its missing rows: of where the baseline has one."""

    def place(row: ModelRow) -> tuple[str, ...]:
        return row.model, row.start, row.source or "", row.setting, row.training

    wanted = {place(row) for row in rows if row.trainer == over}
    for name, trainer in trainers.items():
        if trainer != over:
            there = {place(row) for row in rows if row.trainer == trainer}
            yield from [name] * len(wanted - there)


def _reason(outcome: Outcome, other: Outcome | None, over: str) -> str:
    if outcome.status != "done":
        return "failed" if outcome.status == "failed" else ABSENT
    if outcome.mean is None or outcome.mean.value is None:
        return "without a score"
    if other is None or other.mean is None or other.mean.value is None:
        return f"without {over} to compare with"
    return UNTESTED
