"""The end of `perbench run` on one screen: the verdict, a table, failures, and how to see the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from perbench.console.printing import console
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.heap import growing
from perbench.progress import counted
from perbench.site.format import number
from perbench.site.load import load
from perbench.site.rows import ON_TEST
from perbench.site.terminal import mark_of, painted, without_digests
from perbench.site.view import SiteView, build_view, title
from perbench.store import CellRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LINES = 38
"""Lines of a screen, including the shell's."""
WIDEST = 100
"""Maximum columns of the table."""
MOST_FAILURES = 3
MOST_NOTES = 2
FEWEST_ROWS = 3
NAME_WIDTHS = 44, 30
"""Widths of the name column; the second is used if columns would be left out otherwise."""


@growing()
def print_finished(run: Path, matrix: str | None = None, known: Sequence[CellRecord] = ()) -> None:
    """Print the latest plan of a matrix in a run directory to stdout; `known` as in
    `perbench.site.load.load`.

    Raises:
        PerbenchError: as `perbench.site.build`.
    """
    print_screen(build_view(load([run], matrix=matrix, known=known)), console(), run)


def print_screen(view: SiteView, console: Console, run: Path) -> None:
    before = view.verdict.lines
    tables = [table for table in view.tables if not table.minor]
    main = next((table for table in tables if not table.summary), None)
    notes = _notes(main) if main is not None else []
    after = [*notes, *_failures(view, console.width), *_left_out(view), _rest(view, run)]
    room = LINES - sum(len(console.render_lines(line)) for line in [*before, *after])
    for line in before:
        console.print(line)
    for alert in (alert for alert in view.alerts if alert.grave):
        console.print(alert.text, style="bold red")
    if main is not None:
        if before:
            console.print()
        for table in (table for table in tables if table.summary):
            lines = len(table.rows) + _around(table)
            if lines + len(main.rows) + _around(main) <= room:
                _print_table(table, console, lines)
                room -= lines
        _print_table(main, console, room)
    for line in after:
        console.print(line)


def _notes(table: Table) -> list[str]:
    """Caveats of whole columns, such as data that a model was trained on."""
    notes = [f"{column.title}: {note}" for column in table.columns for note in column.notes]
    more = len(notes) - MOST_NOTES
    return notes[:MOST_NOTES] + ([f"… {counted(more, 'caveat')} more"] if more > 0 else [])


def _failures(view: SiteView, width: int) -> list[str]:
    failed = [entry.record for entry in view.entries if entry.record.error is not None]
    lines = []
    for record in failed[:MOST_FAILURES]:
        error = record.error
        first = error.message.partition("\n")[0] if error is not None else ""
        line = f"failed: {title(record)}: {first}"
        lines.append(line if len(line) <= width else f"{line[: width - 1]}…")
    return lines + ([f"… {len(failed) - MOST_FAILURES} more failed"] if len(failed) > MOST_FAILURES else [])


def _left_out(view: SiteView) -> list[str]:
    lines = []
    if view.damaged:
        lines.append(f"{counted(len(view.damaged), 'damaged part')} left out")
    if view.superseded:
        lines.append(f"{counted(len(view.superseded), 'superseded record')} left out")
    lines += [f"section {name} is broken, left out" for name, _ in view.broken]
    return [*lines, without_digests(view)] if view.unverifiable else lines


def _rest(view: SiteView, run: Path) -> str:
    names = ", ".join(section.name for section in view.sections)
    return f"More: perbench leaderboard show {quote(str(run))} [SECTION], of {names}" if names else ""


def _print_table(table: Table, console: Console, room: int) -> None:
    """One line per row; columns beyond WIDEST and rows beyond `room` are counted."""
    from rich import box
    from rich.table import Table as Drawn

    width = min(console.width, WIDEST)
    places = [place for place, column in enumerate(table.columns) if not column.minor]
    several = len({head.model for head, _ in table.rows}) > 1
    flagged = any(isinstance(one, Value) and one.flags for _, values in table.rows for one in values)
    notes = [
        table.caption,
        "▲ better, ▼ worse after Holm's correction" if any(v.gain for c in table.numbers for v in c) else "",
        "! has a caveat" if flagged else "",
    ]
    heads = [_heading(table.columns[place]) for place in places]
    rows = table.rows[: max(FEWEST_ROWS, room - _around(table))]

    def drawn(count: int, name_width: int) -> RenderableType:
        found = Drawn(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        found.add_column(table.first, max_width=name_width, no_wrap=True, overflow="ellipsis")
        for heading in heads[:count]:
            found.add_column(heading, no_wrap=True, overflow="ellipsis")
        for head, values in rows:
            found.add_row(
                painted(_row_name(head, several)), *(_cell(values[place]) for place in places[:count])
            )
        return found

    unbound = console.options.update_width(10_000)
    sizes = [(count, names) for count in range(len(places), 0, -1) for names in NAME_WIDTHS]
    count, names = next(
        (size for size in sizes if console.measure(drawn(*size), options=unbound).maximum <= width),
        (min(1, len(places)), NAME_WIDTHS[-1]),
    )
    console.print("; ".join(filter(None, notes)), style="italic")
    console.print(drawn(count, names), width=width)
    left = [
        counted(number_of, what)
        for number_of, what in ((len(table.rows) - len(rows), "row"), (len(places) - count, "column"))
        if number_of
    ]
    console.print(f"… {' and '.join(left)} more" if left else "")


def _around(table: Table) -> int:
    """Lines around a table's rows: the caption, empty ones, what is left out, the heading and its rule."""
    heads = [_heading(column) for column in table.columns if not column.minor]
    return 5 + max((head.count("\n") + 1 for head in heads), default=1)


def _heading(column: ColumnHead) -> str:
    """The task's name below its family, to keep columns narrow."""
    return "\n".join(filter(None, (*column.name.rsplit("/", 1), column.apart, column.metric)))


def _row_name(head: RowHead, several: bool) -> str:
    source = f"<- {head.trained_on}" if head.trained_on else ""
    marked = ON_TEST if any(flag.grave for flag in head.flags) and ON_TEST not in head.variation else ""
    name = " ".join(filter(None, (head.name, marked, head.variation, head.detail, source)))
    return f"{name}, {head.model}" if several and head.model else name


def _cell(value: Value | str) -> str:
    if isinstance(value, str):
        return value
    if value.value is None or value.text:
        found = value.text or "no score"
    else:
        found = number(value.value, value.digits, signed=value.is_gain)
        if value.is_gain:
            found += mark_of(value)
        elif value.gain is not None and value.gain.value is not None:
            found += f" {number(value.gain.value, value.digits, signed=True)}{mark_of(value)}"
    return f"{found} !" if value.flags else found
