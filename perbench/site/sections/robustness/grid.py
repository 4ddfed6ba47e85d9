"""Scores over two numbers, and their differences from the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from perbench.contracts.results import Matrix, TargetColumn
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.site.format import tick
from perbench.site.naming import default_of
from perbench.site.values import outcome_value
from perbench.stats.paired import holm_adjusted

from .papers import Paper, beside
from .varied import Grid


@dataclass(frozen=True)
class Heat(Table):
    """Rows are values of one number, columns of the other. Gains are over the trainer's defaults, `reference`
    in words; "" if they were not run. `place` are the models."""

    keys: tuple[str, str] = ("", "")
    place: str = ""
    trainer: str = ""
    reference: str = ""


@dataclass(frozen=True)
class _Cells:
    """A grid on one target: each cell's value, and where the defaults are among them."""

    grid: Grid
    column: TargetColumn
    values: dict[tuple[float, float], Value]
    main: tuple[float, float] | None


def heats(grids: Sequence[Grid], matrix: Matrix, known: Sequence[Paper]) -> list[Heat]:
    """A table for each grid and target with a score; gains are corrected over all of them."""
    cells = [_cells(grid, place, matrix) for grid in grids for place in range(len(matrix.columns))]
    found = [one for one in cells if any(value.value is not None for value in one.values.values())]
    gains = [value.gain for one in found for value in one.values.values() if value.gain is not None]
    corrected = iter(holm_adjusted(gains))
    for one in found:
        for at, value in one.values.items():
            if value.gain is not None:
                one.values[at] = replace(value, gain=next(corrected))
    several = len({grid.whose.model for grid in grids}) > 1
    return [_heat(one, known, several) for one in found]


def _cells(grid: Grid, place: int, matrix: Matrix) -> _Cells:
    outcomes, column, paired = dict(matrix.rows), matrix.columns[place], matrix.paired[place]
    found = {
        at: replace(outcome_value(outcomes[row][place], column), versus="", gain=None, rank=None, own=False)
        for at, row in grid.cells.items()
    }
    first, second = (default_of(grid.whose.trainer, key) for key in grid.keys)
    base = grid.cells.get((first, second))
    if base is None or base not in paired.places:
        return _Cells(grid, column, found, None)
    for at, row in grid.cells.items():
        if row == base:
            found[at] = replace(found[at], versus="baseline", own=True)
        elif row in paired.places:
            gain = paired.scores.gain(paired.places[row], paired.places[base])
            found[at] = replace(found[at], versus="gain", gain=gain)
    return _Cells(grid, column, found, (first, second))


def _heat(cells: _Cells, known: Sequence[Paper], several: bool) -> Heat:
    """`several`: whether there are tables of other models."""
    grid, column = cells.grid, cells.column
    down, across = grid.keys
    rows: list[tuple[RowHead, tuple[Value | str, ...]]] = [
        (RowHead(tick(row)), tuple(cells.values.get((row, at), "—") for at in grid.values(1)))
        for row in grid.values(0)
    ]
    reported = beside(known, grid.whose, column, grid.keys)
    for label in dict.fromkeys(one.label for one in reported.values()):
        printed = {
            at: Value(one.value, text=one.printed) for at, one in reported.items() if one.label == label
        }
        rows += [
            (
                RowHead(tick(row), reported=label, group=(label,)),
                tuple(printed.get((row, at), "—") for at in grid.values(1)),
            )
            for row in grid.values(0)
        ]
    model = f"{grid.whose.model}, " if several else ""
    place = f"{model}{grid.whose.name}, trained on {grid.whose.source}"
    reference = ""
    if cells.main is not None:
        reference = ", ".join(f"{key} {tick(at)}" for key, at in zip(grid.keys, cells.main, strict=True))
    return Heat(
        caption=f"{column.metric or column.headline} by {down} and {across}: {place}",
        first=down,
        columns=tuple(ColumnHead(f"{across} {tick(at)}") for at in grid.values(1)),
        rows=tuple(rows),
        target=column.target,
        apart=column.apart,
        explanation=f"Gains are over {reference}, corrected over all of these tables." if reference else "",
        keys=grid.keys,
        place=place,
        trainer=grid.whose.name,
        reference=reference,
    )
