"""The same view in a terminal: what `perbench run` prints at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perbench.console.printing import console
from perbench.progress import counted, duration
from perbench.site import identification
from perbench.site.format import interval, number
from perbench.site.load import load
from perbench.site.rows import Row
from perbench.site.transfer import Cell, Column, Matrix
from perbench.site.view import View, build_view

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


WIDEST = 10_000
"""Columns that hold any table."""
Line = tuple[str, Sequence[str]]
"""A row's name and its cells."""


def print_results(run: Path, matrix: str | None = None) -> None:
    """Print the tables of a run directory to stdout, or of the latest plan there of one matrix.

    Raises:
        PerbenchError: as `perbench.site.build`.
    """
    print_view(build_view(load([run], matrix=matrix)), console())


def print_view(view: View, console: Console) -> None:
    if view.matrix.rows:
        _print_matrix(view.matrix, console)
    for turns in view.turns:
        notes = f" ({'; '.join(turns.notes)})" if turns.notes else ""
        headings = ("mean", *(f"turn {turn}" for turn in turns.turns), *turns.beside)
        lines: list[Line] = []
        for held in turns.rows:
            digits = [turns.digits] * (1 + len(turns.turns)) + [2] * len(turns.beside)
            shown = [
                number(e.value, places) if e and e.value is not None else held.cell.status_text
                for e, places in zip((held.mean, *held.turns, *held.beside), digits, strict=True)
            ]
            lines.append((_row_name(held.row), shown))
        _print_table(console, f"{turns.title}: {turns.metric} per turn{notes}", "trained", headings, lines)
    for section in view.identification:
        for found in section.tables:
            _print_identification(section.title, found, console)
    for line in _remarks(view):
        console.print(line)


def _print_table(
    console: Console, caption: str, first: str, headings: Sequence[str], lines: Sequence[Line]
) -> None:
    """A table whose columns are as wide as they need; those that the console's width does not hold follow in
    further tables."""
    shown = 0
    while not shown or shown < len(headings):
        count = len(headings) - shown
        while True:
            part = slice(shown, shown + count)
            table = _table(first, headings[part], [(name, cells[part]) for name, cells in lines])
            wide = console.measure(table, options=console.options.update_width(WIDEST)).maximum
            if wide <= console.width or count <= 1:
                break
            count -= 1
        console.print(caption if not shown else f"{caption}, continued", style="italic")
        console.print(table)
        console.print()
        shown += max(count, 1)


def _table(first: str, headings: Sequence[str], lines: Sequence[Line]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (first, *headings):
        table.add_column(heading, overflow="fold")
    for name, cells in lines:
        table.add_row(name, *cells)
    return table


def _print_matrix(matrix: Matrix, console: Console) -> None:
    over = f", gain over {matrix.baseline}" if matrix.baseline else ""
    headings = [
        "\n".join(filter(None, (column.target, column.apart, column.headline or "no headline")))
        for column in matrix.columns
    ]
    lines = [
        (_row_name(row), [_cell(cell, c) for cell, c in zip(cells, matrix.columns, strict=True)])
        for row, cells in matrix.rows
    ]
    caption = f"Score{over} [95% interval]; * the gain's interval excludes 0"
    _print_table(console, caption, "trained", headings, lines)


def _row_name(row: Row) -> str:
    name = " ".join(filter(None, (row.trainer or "base model", row.variation)))
    return "\n  ".join(filter(None, (name, row.model, row.source and f"<- {row.source}")))


def _cell(cell: Cell, column: Column) -> str:
    estimate, gain = cell.estimate, cell.gain
    if estimate is None or estimate.value is None:
        return "\n".join((cell.status_text, *(flag.short for flag in (estimate.flags if estimate else ()))))
    lines = [number(estimate.value, column.digits)]
    if estimate.ci:
        lines[0] += f" {interval(estimate.ci, column.digits)}"
    if gain is not None and gain.value is not None:
        line = number(gain.value, column.digits, signed=True)
        line += f" {interval(gain.ci, column.digits, signed=True)}" if gain.ci else ""
        lines.append(line + (" *" if gain.excludes_zero else ""))
    elif cell.versus == "baseline":
        lines.append("baseline")
    return "\n".join((*lines, *(flag.short for flag in estimate.flags)))


def _print_identification(title: str, found: identification.Table, console: Console) -> None:
    lines: list[Line] = []
    for line in found.lines:
        labels = line.record.labels
        shown = []
        for metric, digits in zip(line.metrics, found.digits, strict=True):
            if metric is None or metric.value is None:
                shown.append("failed" if line.record.status == "failed" else "no score")
            else:
                shown.append(
                    number(metric.value, digits) + (f" {interval(metric.ci, digits)}" if metric.ci else "")
                )
        if found.timed:
            shown.append(number(line.rate, 1) if line.rate is not None else "")
            shown.append(duration(line.record.seconds))
        where = ", ".join(filter(None, (labels.model, line.cut)))
        lines.append(("\n  ".join((_line_name(line), where, *(flag.short for flag in line.flags))), shown))
    headings = (*found.headings, *(("examples/s", "time") if found.timed else ()))
    _print_table(console, f"{title}: {found.caption} [95% interval]", "identifier", headings, lines)


def _line_name(line: identification.Line) -> str:
    return " ".join(filter(None, (line.record.labels.identifier, line.variation)))


def _flagged(view: View) -> Iterator[str]:
    """What the short flags in the tables mean."""
    for row, cells in view.matrix.rows:
        name = " ".join(_row_name(row).split())
        for cell, column in zip(cells, view.matrix.columns, strict=True):
            for flag in cell.estimate.flags if cell.estimate else ():
                yield flag.key or f"{name}, {column.title}: {flag.text}"
    for section in view.identification:
        for table in section.tables:
            for line in table.lines:
                yield from (
                    flag.key or f"{_line_name(line)}, {section.title}: {flag.text}" for flag in line.flags
                )


def _remarks(view: View) -> list[str]:
    matrix, lines = view.matrix, list(dict.fromkeys(_flagged(view)))
    for column in matrix.columns:
        lines += [f"{column.title}: {note}" for note in column.notes]
    if matrix.gains:
        lines.append(
            f"{matrix.excluding_zero} of {len(matrix.gains)} gains over {matrix.baseline} have an interval "
            f"that excludes 0; about {number(matrix.by_chance, 1)} would if nothing differed."
        )
    lines += [f"{section.title}: {note}" for section in view.identification for note in section.notes]
    for hidden in view.superseded:
        lines.append(f"superseded in its run's latest plan, left out: {hidden}")
    if view.unverifiable:
        lines.append(
            f"{counted(view.unverifiable, 'record')} from an older perbench, without digests: "
            "changes cannot be detected"
        )
    lines += [f"damaged, left out: {what}" for what in view.damaged]
    return lines
