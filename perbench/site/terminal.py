"""The same view in a terminal: what `perbench run` prints at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perbench.printing import console
from perbench.progress import counted, duration
from perbench.site import identification
from perbench.site.format import interval, number
from perbench.site.load import load
from perbench.site.rows import Row
from perbench.site.transfer import Cell, Column, Matrix
from perbench.site.view import UNSEEN, View, build_view

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def print_results(run: Path, matrix: str | None = None) -> None:
    """Print the tables of a run directory to stdout, or of the latest plan there of one matrix.

    Raises:
        PerbenchError: as `perbench.site.build`.
    """
    print_view(build_view(load([run], matrix=matrix)), console())


def print_view(view: View, console: Console) -> None:
    if view.matrix.rows:
        console.print(_matrix_table(view.matrix))
    for turns in view.turns:
        notes = f" ({'; '.join(turns.notes)})" if turns.notes else ""
        table = _table(f"{turns.title}: {turns.metric} per turn{notes}", "trained")
        for heading in ("mean", *(f"turn {turn}" for turn in turns.turns), *turns.beside):
            table.add_column(heading)
        for held in turns.rows:
            digits = [turns.digits] * (1 + len(turns.turns)) + [2] * len(turns.beside)
            shown = [
                number(e.value, places) if e and e.value is not None else held.cell.status_text
                for e, places in zip((held.mean, *held.turns, *held.beside), digits, strict=True)
            ]
            table.add_row(_row_name(held.row), *shown)
        console.print(table)
    for section in view.identification:
        for found in section.tables:
            console.print(_identification_table(section.title, found))
    for line in _remarks(view):
        console.print(line)


def _table(caption: str, first: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(caption), title_justify="left", box=box.SIMPLE_HEAD, show_lines=False)
    table.add_column(first, no_wrap=True)
    return table


def _matrix_table(matrix: Matrix) -> Table:
    from rich.text import Text

    over = f", gain over {matrix.baseline}" if matrix.baseline else ""
    table = _table(f"Score{over} [95% interval]; * the gain's interval excludes 0", "trained")
    for column in matrix.columns:
        table.add_column(
            Text("\n".join(filter(None, (column.target, column.apart, column.headline or "no headline"))))
        )
    for row, cells in matrix.rows:
        table.add_row(
            _row_name(row), *(_cell(cell, c) for cell, c in zip(cells, matrix.columns, strict=True))
        )
    return table


def _row_name(row: Row) -> Text:
    from rich.text import Text

    name = " ".join(filter(None, (row.trainer or "base model", row.variation)))
    return Text(f"{name}\n  {row.model}{f' <- {row.source}' if row.source else ''}")


def _cell(cell: Cell, column: Column) -> Text:
    from rich.text import Text

    estimate, gain = cell.estimate, cell.gain
    if estimate is None or estimate.value is None:
        return Text("\n".join((cell.status_text, *(estimate.flags if estimate else ()))))
    lines = [number(estimate.value, column.digits)]
    if estimate.ci:
        lines[0] += f" {interval(estimate.ci, column.digits)}"
    if gain is not None and gain.value is not None:
        line = number(gain.value, column.digits, signed=True)
        line += f" {interval(gain.ci, column.digits, signed=True)}" if gain.ci else ""
        lines.append(line + (" *" if gain.excludes_zero else ""))
    elif cell.versus == "baseline":
        lines.append("baseline")
    return Text("\n".join((*lines, *estimate.flags)))


def _identification_table(title: str, found: identification.Table) -> Table:
    from rich.text import Text

    table = _table(f"{title}: {found.caption} [95% interval]", "identifier")
    for heading in (*found.headings, *(("examples/s", "time") if found.timed else ())):
        table.add_column(Text(heading))
    for line in found.lines:
        labels = line.record.labels
        name = " ".join(filter(None, (labels.identifier, line.variation)))
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
        said = "".join(f"\n  {flag}" for flag in line.flags)
        table.add_row(Text(f"{name}\n  {where}{said}"), *map(Text, shown))
    return table


def _remarks(view: View) -> list[str]:
    matrix, lines = view.matrix, []
    for column in matrix.columns:
        lines += [f"{column.title}: {note}" for note in column.notes]
    if matrix.gains:
        lines.append(
            f"{matrix.excluding_zero} of {len(matrix.gains)} gains over {matrix.baseline} have an interval "
            f"that excludes 0; about {number(matrix.by_chance, 1)} would if nothing differed."
        )
    lines += [f"{section.title}: {note}" for section in view.identification for note in section.notes]
    for hidden in view.superseded:
        lines.append(f"not shown, since its run's latest plan has another in its place: {hidden}")
    if view.unverifiable:
        lines.append(
            f"{counted(view.unverifiable, 'record')} of an older perbench, without digests: {UNSEEN}"
        )
    lines += [f"damaged, not shown: {what}" for what in view.damaged]
    return lines
