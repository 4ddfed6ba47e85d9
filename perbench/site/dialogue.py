"""Dialogue targets turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from perbench.site.flags import flags
from perbench.site.format import digits_for
from perbench.site.rows import Row
from perbench.site.transfer import Cell, Estimate, Matrix
from perbench.store import CellRecord


@dataclass(frozen=True)
class TurnRow:
    """`mean` is what the record reports, `turns` the estimate at each turn, `beside` the metrics of whole
    dialogues; None where nothing was recorded. Several seeds are averaged, without intervals."""

    row: Row
    cell: Cell
    mean: Estimate | None
    turns: tuple[Estimate | None, ...]
    beside: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Turns:
    """One metric of one dialogue target; `apart` as its column has it. `beside`: what is computed from it
    over whole dialogues (how ratings rise, how judges agree)."""

    target: str
    apart: str
    metric: str
    turns: tuple[int, ...]
    beside: tuple[str, ...]
    rows: tuple[TurnRow, ...]
    digits: int
    signature: str
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return " · ".join(filter(None, (self.target, self.apart)))


def turn_tables(matrix: Matrix) -> tuple[Turns, ...]:
    tables = []
    for i, column in enumerate(matrix.columns):
        records = [record for _, cells in matrix.rows for record in cells[i].records]
        with_turns = {name for r in records for name, metric in r.metrics.items() if metric.by_turn}
        for name in sorted(with_turns, key=lambda name: (name != column.headline, name)):
            found = [r.metrics[name] for r in records if name in r.metrics]
            turns = tuple(sorted({turn.turn for metric in found for turn in metric.by_turn}))
            beside = _of_whole_dialogues(records, name)
            rows = tuple(
                TurnRow(
                    row,
                    cells[i],
                    _mean(cells[i], name),
                    tuple(_turn(cells[i], name, turn) for turn in turns),
                    tuple(_mean(cells[i], other) for other in beside),
                )
                for row, cells in matrix.rows
            )
            digits = digits_for(turn.value for metric in found for turn in metric.by_turn)
            signatures = " · ".join(sorted({metric.signature for metric in found}))
            others = tuple(f"{other}:" for other in with_turns - {name})
            notes = tuple(note for note in column.notes if not note.startswith(others))
            tables.append(
                Turns(column.target, column.apart, name, turns, beside, rows, digits, signatures, notes)
            )
    return tuple(tables)


def _of_whole_dialogues(records: Sequence[CellRecord], of: str) -> tuple[str, ...]:
    """Metrics computed from another one, which their signatures name."""
    found = (
        name
        for record in records
        for name, metric in record.metrics.items()
        if not metric.by_turn and f"|{of}|" in metric.signature
    )
    return tuple(dict.fromkeys(found))


def _done(cell: Cell, name: str) -> list[CellRecord]:
    return [record for record in cell.records if record.status == "done" and name in record.metrics]


def _mean(cell: Cell, name: str) -> Estimate | None:
    metrics = [record.metrics[name] for record in _done(cell, name)]
    if not metrics:
        return None
    values = [metric.value for metric in metrics if metric.value is not None]
    return Estimate(
        value=fmean(values) if values else None,
        ci=metrics[0].ci if len(metrics) == 1 else None,
        n=sum(metric.n for metric in metrics),
        missing=sum(metric.missing for metric in metrics),
        seeds=len(metrics),
        flags=flags(_done(cell, name), name),
    )


def _turn(cell: Cell, name: str, turn: int) -> Estimate | None:
    found = [t for record in _done(cell, name) for t in record.metrics[name].by_turn if t.turn == turn]
    if not found:
        return None
    values = [t.value for t in found if t.value is not None]
    return Estimate(
        value=fmean(values) if values else None,
        ci=found[0].ci if len(found) == 1 else None,
        n=sum(t.n for t in found),
        missing=0,
        seeds=len(found),
    )
