"""A cell beside others: its column, its gain, its baseline, its other seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perbench.contracts.results import Matrix, ModelRow, Outcome, TargetColumn
from perbench.contracts.section import Value
from perbench.site.draw import verdict_words
from perbench.site.format import between, number
from perbench.site.rows import Baselines
from perbench.store import CellRecord


@dataclass(frozen=True)
class CellPlace:
    """An evaluation's place in the matrix. `base`: the baseline's evaluation of the same seed; `other`: the
    cell with which a reader would first compare it; both None if there is none."""

    row: ModelRow
    column: TargetColumn
    number: int
    """Of the column, from 0."""
    outcome: Outcome
    base: CellRecord | None
    other: CellRecord | None

    def gain(self, baseline: str | None) -> tuple[str, str] | None:
        """The gain over all seeds, and its interval and test in words."""
        gain, digits = self.outcome.gain, self.column.digits
        if gain is None or gain.value is None:
            return None
        ci = f"{between(gain.ci, digits, signed=True)}; " if gain.ci else ""
        test = verdict_words(Value(value=gain.value, gain=gain, better=self.column.better), baseline)
        done = sum(record.status == "done" for record in self.outcome.records)
        seeds = f"; over {done} seeds" if done > 1 else ""
        return number(gain.value, digits, signed=True), ci + test + seeds


def places_of(matrix: Matrix) -> dict[str, CellPlace]:
    """By identity."""
    return {record.identity: place for record, place in _places(matrix)}


def _places(matrix: Matrix) -> Iterator[tuple[CellRecord, CellPlace]]:
    bases = Baselines((row for row, _ in matrix.rows), matrix.baseline)
    outcomes = dict(matrix.rows)
    for row, found in matrix.rows:
        base_row = bases.of(row)
        for number_, outcome in enumerate(found):
            column = matrix.columns[number_]
            for record in outcome.records:
                seed = record.labels.seed
                base = None
                if base_row is not None and base_row != row:
                    base = _done(outcomes[base_row][number_], seed)
                near = (_done(other[number_], seed) for name, other in matrix.rows if name != row)
                other = base or next((one for one in near if one is not None), None)
                yield record, CellPlace(row, column, number_, outcome, base, other)


def _done(outcome: Outcome, seed: int) -> CellRecord | None:
    found = (one for one in outcome.records if one.status == "done" and one.labels.seed == seed)
    return next(found, None)
