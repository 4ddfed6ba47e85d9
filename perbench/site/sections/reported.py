"""Numbers reported in papers, beside those measured on the same tasks; nothing is computed from both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perbench.contracts.results import Flag, Loaded, Matrix, ModelRow, Outcome
from perbench.contracts.section import ColumnHead, RowHead, Section, Table, Value
from perbench.shapes.reported import NOTHING, ReportedRow, ReportedTable, number
from perbench.site.rows import head_of
from perbench.site.values import at_turn, value_of
from perbench.specs.load import all_reported
from perbench.specs.rows import task_of

Line = tuple[RowHead, tuple[Value | str, ...]]


class Reported(Section):
    title = "Reported in papers"
    order = 40

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        targets = [column.target for column in matrix.columns]
        targets += [one.record.labels.target or "" for one in loaded.results if one.record.kind == "identify"]
        evaluated = {task_of(target) for target in targets}
        known = all_reported() if evaluated else []
        chosen = ((table.spec, _places(table.spec, evaluated)) for table in known)
        return [_table(table, places, loaded, matrix) for table, places in chosen if places]


def _places(table: ReportedTable, evaluated: set[str]) -> list[int]:
    """The columns of evaluated tasks; columns without a task (averages) only if all others are."""
    about = [bool(evaluated.intersection(column.tasks)) for column in table.columns]
    whole = all(shown for shown, column in zip(about, table.columns, strict=True) if column.tasks)
    return [
        place
        for place, column in enumerate(table.columns)
        if any(about) and (about[place] or (whole and not column.tasks))
    ]


def _table(table: ReportedTable, places: Sequence[int], loaded: Loaded, matrix: Matrix) -> Table:
    columns = [table.columns[place] for place in places]
    measured = tuple(_measured(table, places, loaded, matrix))
    return Table(
        caption=f"{table.label}, {'reported and measured' if measured else 'reported'}",
        first="model",
        columns=tuple(ColumnHead(column.name, metric=column.metric) for column in columns),
        rows=(*(_reported(table, row, places) for row in table.rows), *measured),
        explanation=f"{table.title} ({table.version}): “{table.caption}”",
        notes=("reported numbers were measured elsewhere, under a set-up that differs",),
        remarks=(*(f"set-up: {text}" for text in table.differs), *(f"note: {text}" for text in table.notes)),
        minor=True,
    )


def _reported(table: ReportedTable, row: ReportedRow, places: Sequence[int]) -> Line:
    head = RowHead(
        name=row.model if row.method in NOTHING else row.method,
        variation=row.setting,
        detail="; ".join(filter(None, (row.metric, "trained on each task" * (row.trained_on == "own")))),
        trained_on={"own": None, "nothing": ""}.get(row.trained_on or "", row.trained_on),
        model=row.model,
        group=(row.model,),
        reported=table.label,
    )
    return head, tuple(
        text
        if (found := number(text)) is None
        else Value(found, text=text, better=table.columns[place].better, flags=_suspect(table, row, place))
        for place in places
        for text in [row.printed[place]]
    )


def _suspect(table: ReportedTable, row: ReportedRow, place: int) -> tuple[Flag, ...]:
    why = row.suspect.get(table.columns[place].name)
    return () if why is None else (Flag(f"suspect: {why}", "suspect", why),)


def _measured(table: ReportedTable, places: Sequence[int], loaded: Loaded, matrix: Matrix) -> Iterator[Line]:
    """A line per model that is the counterpart of a reported row, and per variant of the targets; none of
    cells that another profile than the table's planned."""
    lines: dict[RowHead, dict[int, Value]] = defaultdict(dict)
    for row, outcomes in matrix.rows:
        for target, outcome in zip(matrix.columns, outcomes, strict=True):
            task = task_of(target.target)
            for place in places:
                column = table.columns[place]
                if column.measured is None or task not in column.tasks or not outcome.records:
                    continue
                if not _matching(table, loaded, outcome):
                    continue
                variant = (
                    task if task != column.tasks[0] else "",
                    target.target.removeprefix(task).strip(" ()"),
                    target.apart,
                )
                mean = value_of(outcome.records, column.measured, table.decimals(place))
                value = mean if column.turn is None else at_turn(mean, column.measured, column.turn)
                for head in _heads(table, row, outcome):
                    named = replace(head, detail=" · ".join(filter(None, (head.detail, *variant))))
                    lines[named][place] = value
    for head, found in lines.items():
        yield head, tuple(found.get(place, "—") for place in places)


def _matching(table: ReportedTable, loaded: Loaded, outcome: Outcome) -> bool:
    profiles = [loaded.profiles.get(record.identity, ()) for record in outcome.records]
    return table.profile is None or all(table.profile in names for names in profiles if names)


def _heads(table: ReportedTable, row: ModelRow, outcome: Outcome) -> Iterator[RowHead]:
    """The lines of a model's outcome. Models trained on each column's own task share one."""
    head, wanted = head_of(row), {(one.trainer, one.trained_on) for one in table.rows}
    if (row.trainer, "nothing" if row.source is None else task_of(row.source)) in wanted:
        yield head
    if (row.trainer, "own") in wanted and outcome.own and row.source is not None:
        label = row.source.removeprefix(task_of(row.source)).strip(" ()")
        detail = " · ".join(filter(None, ("trained on each task", label)))
        yield replace(head, trained_on=None, detail=detail, group=(row.model, detail))
