"""Dialogue metrics turn by turn, with metrics of whole dialogues computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perbench.contracts.results import Loaded, Matrix
from perbench.contracts.section import ColumnHead, Section, Table, Value
from perbench.site.format import digits_for
from perbench.site.rows import head_of
from perbench.site.values import at_turn, value_of
from perbench.store import CellRecord

SHAPES = ("r2", "n_ir", "n_r2")
WHY_NONE = "with few personas noise moves the values themselves."


class DialogueSection(Section):
    title = "Dialogue, turn by turn"
    order = 20

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        tables = []
        for place, column in enumerate(matrix.columns):
            by_row = [outcomes[place].records for _, outcomes in matrix.rows]
            records = [record for found in by_row for record in found]
            names = {name for record in records for name, found in record.metrics.items() if found.by_turn}
            for name in sorted(names, key=lambda name: (name != column.headline, name)):
                found = [record.metrics[name] for record in records if name in record.metrics]
                turns = sorted({turn.turn for metric in found for turn in metric.by_turn})
                beside = _of_whole_dialogues(records, name)
                digits = digits_for(turn.value for metric in found for turn in metric.by_turn)
                others = tuple(f"{other}:" for other in names - {name})
                moved = [other for other in beside if other in SHAPES]
                table = Table(
                    caption=f"{name} per turn",
                    first="trained",
                    columns=tuple(map(ColumnHead, ["mean", *(f"turn {turn}" for turn in turns), *beside])),
                    rows=tuple(
                        (head_of(row), _values(cells, name, turns, beside, digits))
                        for (row, _), cells in zip(matrix.rows, by_row, strict=True)
                    ),
                    target=column.target,
                    apart=column.apart,
                    explanation=f"No interval of {', '.join(moved)}: {WHY_NONE}" if moved else "",
                    notes=tuple(note for note in column.notes if not note.startswith(others)),
                    signature=" · ".join(sorted({metric.signature for metric in found})),
                    compact=True,
                )
                tables.append(table)
        return tables


def _of_whole_dialogues(records: Sequence[CellRecord], of: str) -> list[str]:
    """Metrics computed from another one, as their signatures show: improvement and agreement."""
    found = (
        name
        for record in records
        for name, metric in record.metrics.items()
        if not metric.by_turn and f"|{of}|" in metric.signature
    )
    return list(dict.fromkeys(found))


def _values(
    records: Sequence[CellRecord], name: str, turns: Sequence[int], beside: Sequence[str], digits: int
) -> tuple[Value, ...]:
    """A row's values at each turn, and over whole dialogues. Only the first links to a record."""
    mean = value_of(records, name, digits)
    by_turn = (at_turn(mean, name, turn) for turn in turns)
    others = (replace(value_of(records, other, 2), records=(), flags=()) for other in beside)
    return (mean, *by_turn, *others)
