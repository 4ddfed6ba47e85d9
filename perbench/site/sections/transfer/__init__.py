"""Every trained model on every target task, with its gain over the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.results import Loaded, Matrix, ModelRow, Outcome, TargetColumn
from perbench.contracts.section import ColumnHead, Section, Table, Value
from perbench.site.rows import head_of
from perbench.site.values import outcome_value


class Transfer(Section):
    title = "Transfer"
    order = 10
    page = "index"
    baseline = "ce"

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        if not matrix.columns:
            return []
        places = _by_metric(matrix.columns)
        columns = tuple(
            ColumnHead(c.target, c.apart, c.headline or "no headline", _sizes(c), c.detectable, c.notes)
            for c in (matrix.columns[place] for place in places)
        )
        rows = tuple(
            (head_of(row), tuple(_value(matrix, row, outcomes, place) for place in places))
            for row, outcomes in matrix.rows
        )
        over = f", gain over {matrix.baseline}" if matrix.baseline else ""
        return [Table(f"Score{over}", "trained", columns, rows)]


def _value(matrix: Matrix, row: ModelRow, outcomes: Sequence[Outcome], place: int) -> Value:
    if not matrix.meant(row, place):
        return Value(text="–", aside="not in the matrix")
    return outcome_value(outcomes[place], matrix.columns[place])


def _by_metric(columns: Sequence[TargetColumn]) -> list[int]:
    """The places of the columns, those of one metric side by side."""
    metrics = [column.headline for column in columns]
    return sorted(range(len(columns)), key=lambda place: metrics.index(metrics[place]))


def _sizes(column: TargetColumn) -> str:
    """ "40–50 answers, 12 users"."""
    found = (("{} answers", column.sizes), ("{} users", column.users))
    return ", ".join(text.format("–".join(map(str, sorted(set(span))))) for text, span in found if span)
