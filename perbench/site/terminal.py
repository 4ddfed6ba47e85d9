"""Prints the view in a terminal: `perbench leaderboard show`, and the end of `perbench identify`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from perbench.console.printing import console, printable
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.progress import counted
from perbench.site.format import interval, number
from perbench.site.load import load
from perbench.site.rows import ON_TEST
from perbench.site.view import ShownSection, SiteView, build_view

if TYPE_CHECKING:
    from rich import table as rich_table
    from rich.console import Console
    from rich.text import Text


WIDEST = 10_000
"""A width that fits any table."""
HEADING = 16
"""Columns of a heading where tables are narrow: about those of an interval."""
Line = tuple[str, Sequence[str]]
"""A row's name and cells."""


def print_results(run: Path, matrix: str | None = None) -> None:
    """Print the verdict and tables of a run directory to stdout, or of one matrix's latest plan in it.

    Raises:
        PerbenchError: as `perbench.site.build`.
    """
    print_view(build_view(load([run], matrix=matrix)), console())


def print_view(
    view: SiteView, console: Console, *, section: ShownSection | None = None, minor: bool = False
) -> None:
    """Print the verdict and all tables, or those of one section; with `minor`, these, too."""
    if section is None:
        for line in view.verdict.lines:
            console.print(line)
        if view.verdict.lines:
            console.print()
    shown = view.tables if section is None else section.tables
    tables = [table for table in shown if minor or not table.minor]
    for table in tables:
        _print_table(table, console, minor)
    for block in section.empty if section is not None else ():
        console.print("\n".join(filter(None, (block.caption, block.reason, block.command))))
    for line in _remarks(view, tables, section is None):
        console.print(line)
    if section is None and (left_out := [table.caption for table in shown if table not in tables]):
        console.print(f"only on the page: {'; '.join(left_out)}")


def _print_table(table: Table, console: Console, minor: bool) -> None:
    """Columns have their natural width; those that do not fit the console go into further tables. If that
    makes fewer of these, intervals are below their values, headings wrap, and the caption names the model."""
    caption, parts = _caption(table), _parts(table, console, minor, narrow=False)
    if len(parts) > 1 and len(narrow := _parts(table, console, minor, narrow=True)) < len(parts):
        models = _models(table)
        caption, parts = f"{caption}; model {models.pop()}" if len(models) == 1 else caption, narrow
    for place, part in enumerate(parts):
        console.print(f"{caption}, continued" if place else caption, style="italic")
        console.print(part)
        console.print()


def _models(table: Table) -> set[str]:
    return {head.model for head, _ in table.rows if head.model}


def _parts(table: Table, console: Console, minor: bool, *, narrow: bool) -> list[rich_table.Table]:
    places = [place for place, column in enumerate(table.columns) if minor or not column.minor]
    headings = [_heading(table.columns[place], table.numbers[place]) for place in places]
    if narrow:
        headings = ["\n".join(_wrapped(line) for line in heading.splitlines()) for heading in headings]
    several = not narrow or len(_models(table)) > 1
    lines = [
        (_row_name(head, several), [_cell(values[place], table.compact, narrow) for place in places])
        for head, values in table.rows
    ]
    found: list[rich_table.Table] = []
    shown = 0
    while not shown or shown < len(headings):
        count = len(headings) - shown
        while True:
            part = slice(shown, shown + count)
            drawn = _drawn(table.first, headings[part], [(name, cells[part]) for name, cells in lines])
            wide = console.measure(drawn, options=console.options.update_width(WIDEST)).maximum
            if wide <= console.width or count <= 1:
                break
            count -= 1
        found.append(drawn)
        shown += max(count, 1)
    return found


def _wrapped(text: str) -> str:
    return fill(text, HEADING, break_long_words=False, break_on_hyphens=False)


def _drawn(first: str, headings: Sequence[str], lines: Sequence[Line]) -> rich_table.Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (first, *headings):
        table.add_column(heading, overflow="fold")
    for name, cells in lines:
        table.add_row(painted(name), *cells)
    return table


def painted(text: str) -> str | Text:
    """A row's name; in red, that its setting was chosen by test scores."""
    from rich.text import Text

    if ON_TEST not in text:
        return text
    found = Text(printable(text))
    found.highlight_words([ON_TEST, "biased upward"], "bold red")
    return found


def _caption(table: Table) -> str:
    values = [value for column in table.numbers for value in column]
    caption = ": ".join(filter(None, (table.title, table.caption)))
    caption += f" ({'; '.join(table.notes)})" if table.notes else ""
    if not table.compact and any(value.ci for value in values):
        caption += " [95% interval]"
    marks = "; ▲ better, ▼ worse after Holm's correction, △ ▽ only its own interval excludes 0"
    return caption + (marks if any(value.gain for value in values) else "")


def _heading(column: ColumnHead, values: Sequence[Value]) -> str:
    lower = "lower is better" if values and all(value.better == "lower" for value in values) else ""
    return "\n".join(filter(None, (column.name, column.apart, column.metric, lower)))


def _row_name(head: RowHead, several: bool = True) -> str:
    """`several`: whether the model is named, as rows have several."""
    where = ", ".join(filter(None, (head.model if several else "", head.detail)))
    source = head.trained_on and f"<- {head.trained_on}"
    reported = head.reported and f"reported, {head.reported}"
    lines = (name_of(head), where, source, reported, *(flag.short for flag in head.flags))
    return "\n  ".join(filter(None, lines))


def name_of(head: RowHead) -> str:
    return " ".join(filter(None, (head.name, head.variation)))


def _cell(value: Value | str, compact: bool, narrow: bool) -> str:
    """`narrow`: an interval is below its value."""
    if isinstance(value, str):
        return value
    flags, gap = [] if compact else [flag.short for flag in value.flags], "\n" if narrow else " "
    if value.value is None or value.text:
        return "\n".join((value.text or "no score", *flags))
    if value.is_gain:
        line = number(value.value, value.digits, signed=True)
        line += f"{gap}{interval(value.ci, value.digits, signed=True)}" if value.ci and not compact else ""
        return "\n".join((f"{line} {mark_of(value)}".rstrip(), *flags))
    lines = [number(value.value, value.digits)]
    if value.ci and not compact:
        lines[0] += f"{gap}{interval(value.ci, value.digits)}"
    gain = value.gain
    if gain is not None and gain.value is not None:
        line = number(gain.value, value.digits, signed=True)
        line += f"{gap}{interval(gain.ci, value.digits, signed=True)}" if gain.ci else ""
        lines.append(f"{line} {mark}" if (mark := mark_of(value)) else line)
    elif value.versus == "baseline":
        lines.append("baseline")
    return "\n".join((*lines, *flags))


def mark_of(value: Value) -> str:
    """ "▲" or "▼" if the gain remains after Holm's correction, "△" or "▽" if its own interval excludes 0."""
    gain = value.gain
    if gain is None or not value.verdict or not gain.excludes_zero:
        return ""
    return {"up": "▲△", "down": "▼▽"}[value.verdict][0 if gain.remains else 1]


def _flagged(table: Table) -> Iterator[str]:
    """The meanings of the short flags in a table."""
    for head, values in table.rows:
        for flag in head.flags:
            yield flag.key or f"{', '.join(filter(None, (name_of(head), table.title)))}: {flag.text}"
        name = " ".join(_row_name(head).split())
        for column, value in zip(table.columns, values, strict=True):
            where = ", ".join(filter(None, (name, table.title, column.title)))
            for flag in value.flags if isinstance(value, Value) else ():
                yield flag.key or f"{where}: {flag.text}"


def _remarks(view: SiteView, tables: Sequence[Table], whole: bool) -> list[str]:
    matrix = view.matrix
    lines = list(dict.fromkeys(line for table in tables if not table.compact for line in _flagged(table)))
    lines += [f"{one.title}: {note}" for table in tables for one in table.columns for note in one.notes]
    if matrix.gains and whole:
        gains, apart = counted(len(matrix.gains), "gain"), matrix.excluding_zero
        remain = "remains" if 1 in (matrix.remaining, len(matrix.gains)) else "remain"
        lines.append(
            f"{matrix.remaining} of {gains} over {matrix.baseline} {remain} after Holm's correction; "
            f"{apart} {'has' if apart == 1 else 'have'} an interval that excludes 0, as about "
            f"{number(matrix.by_chance, 1)} would by chance."
        )
    lines += [f"{table.title or table.caption}: {remark}" for table in tables for remark in table.remarks]
    if whole:
        lines += [f"superseded by its run's latest plan, hidden: {hidden}" for hidden in view.superseded]
        if view.unverifiable:
            lines.append(without_digests(view))
    lines += [f"damaged, left out: {what}" for what in view.damaged]
    return lines + [f"section {name} is broken, left out: {why}" for name, why in view.broken]


def without_digests(view: SiteView) -> str:
    found = counted(view.unverifiable, "record")
    return f"{found} from an older perbench, without digests: changes cannot be detected"
