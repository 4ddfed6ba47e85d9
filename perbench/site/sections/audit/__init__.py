"""How much of each task's score needs the persona, and which answers need no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perbench.contracts.results import Loaded, Matrix, interval_aside
from perbench.contracts.section import Block, ColumnHead, RowHead, Section, Table, Value
from perbench.site.naming import metric_title
from perbench.site.values import value_of
from perbench.stats.paired import Estimate

from .pairs import NONE, OTHER, OWN, PersonaComparison, compared
from .words import sentences

HEADS = {OWN: "Own", NONE: "None", OTHER: "Another's"}
EXPLAINED = (
    "The same requests with the user's own persona, without one, or with another user's. Intervals are over "
    "users, for these models as they are. "
)
FLOORED = "The last column is (own − none) / (own − chance); chance is 0 where no rate of it is known."
LOWER = "The last column is by how much the user's own persona lowers the score without one."


class AuditSection(Section):
    title = "Does the task need the persona?"
    order = 27

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        found = compared(loaded, matrix)
        by_metric: dict[tuple[str, bool], list[PersonaComparison]] = {}
        for one in found:
            by_metric.setdefault((_title(one), one.column.better == "lower"), []).append(one)
        tables = [_table(metric, lower, group) for (metric, lower), group in by_metric.items()]
        return [*tables, *_shortcuts(found)]

    def verdict(self, loaded: Loaded, matrix: Matrix) -> Sequence[str]:
        return sentences(compared(loaded, matrix))


def _title(one: PersonaComparison) -> str:
    title = one.column.metric or one.column.headline or ""
    return title[:1].upper() + title[1:]


def _table(metric: str, lower: bool, found: Sequence[PersonaComparison]) -> Table:
    shown = [whose for whose in HEADS if any(whose in one.values for one in found)]
    differences = [whose for whose in (NONE, OTHER) if whose in shown]
    columns = [
        *(ColumnHead(HEADS[whose]) for whose in shown),
        *(ColumnHead(f"Own − {HEADS[whose].lower()}") for whose in differences),
        ColumnHead("Needs the persona", metric="% of the score"),
    ]
    several = len({one.row.model for one in found}) > 1
    rows = [
        (
            _head(one, several),
            (
                *(_score(one, whose) for whose in shown),
                *(_gain(one, whose) for whose in differences),
                _part(one),
            ),
        )
        for one in found
    ]
    return Table(
        caption=f"{metric.partition(',')[0]} by whose persona the prompt holds",
        first="task",
        columns=tuple(columns),
        rows=tuple(rows),
        explanation=EXPLAINED + (LOWER if lower else FLOORED) + _incomparable(found),
        compact=False,
    )


def _incomparable(found: Sequence[PersonaComparison]) -> str:
    tasks: dict[str, list[str]] = {}
    for one in found:
        if one.beside.incomparable and one.task not in tasks.setdefault(one.beside.incomparable, []):
            tasks[one.beside.incomparable].append(one.task)
    return "".join(f" Not compared with none, as {why}: {', '.join(names)}." for why, names in tasks.items())


def _head(one: PersonaComparison, several: bool) -> RowHead:
    row = one.row
    trained = " ".join(filter(None, (row.trainer or "", row.variation)))
    return RowHead(
        one.task,
        trained,
        detail="" if trained else "base model",
        trained_on=row.source,
        model=row.model if several else None,
        model_label=row.model_label,
        flags=row.flags,
        group=(one.task,),
    )


def _score(one: PersonaComparison, whose: str) -> Value:
    found = one.values.get(whose)
    if found is None or found.value is None:
        return Value(text="–", aside=_absent(one, whose) if found is None else "no score")
    return Value(
        found.value,
        digits=one.column.digits,
        n=found.n,
        missing=found.missing,
        records=one.records.get(whose, ()),
        better=one.column.better,
    )


def _gain(one: PersonaComparison, whose: str) -> Value:
    found = one.over.get(whose)
    if found is None or found.value is None:
        return Value(text="–", aside=_absent(one, whose))
    return Value(
        found.value,
        ci=found.ci,
        ci_aside=_aside(found),
        digits=one.column.digits,
        n=found.n,
        missing=found.missing,
        versus="gain",
        gain=found,
        is_gain=True,
        better=one.column.better,
    )


def _absent(one: PersonaComparison, whose: str) -> str:
    return one.beside.incomparable if whose == NONE and one.beside.incomparable else "not run"


def _aside(found: Estimate) -> str:
    return interval_aside(found.ci, found.users, found.n if found.spread is not None else 0)


def _part(one: PersonaComparison) -> Value:
    part = one.part
    if part is not None:
        ci = None if part.ci is None else (100 * part.ci[0], 100 * part.ci[1])
        return Value(100 * part.value, ci=ci, digits=0, ci_aside=interval_aside(ci, part.users), better=None)
    if one.beside.incomparable:
        return Value(text="–", aside=one.beside.incomparable)
    if one.above is not None and (one.above.ci is None or one.above.ci[0] <= 0):
        return Value(text="–", aside="not significantly above chance")
    return Value(text="–", aside="too few users" if NONE in one.over else "not run without persona")


def _shortcuts(found: Sequence[PersonaComparison]) -> Iterator[Table]:
    """Of the first model on each task, since no model makes a difference to them."""
    first = {one.task: one for one in reversed(found) if one.beside.shortcuts}
    held = [one for one in found if first.get(one.task) is one]
    names = list(
        dict.fromkeys(
            name
            for one in held
            for name in (one.beside.floor, *one.beside.shortcuts)
            if name and isinstance(name, str)
        )
    )
    if not names:
        return
    metrics = [metric_title(one.column.protocol, name) for one in held[:1] for name in names]
    rows = [
        (
            RowHead(one.task, detail=_title(one), group=(one.task,)),
            tuple(value_of(one.records[OWN], name, one.column.digits) for name in names),
        )
        for one in held
    ]
    yield Table(
        caption="Answers that need no model",
        first="task",
        columns=tuple(ColumnHead(name) for name in metrics),
        rows=tuple(rows),
        explanation=(
            "Accuracy at random, and of rules that read neither persona nor question: a rule above chance is "
            "a fault of the task."
        ),
    )
