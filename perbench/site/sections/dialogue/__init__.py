"""Dialogue metrics turn by turn: curves of methods against the baseline, and metrics of whole dialogues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perbench.contracts.chart import Axis, Chart, Empty, Panel, Point, Role, Series
from perbench.contracts.results import Loaded, Matrix, ModelRow
from perbench.contracts.section import Block, ColumnHead, Section, Table, Value
from perbench.progress import counted
from perbench.site.format import number, part_of
from perbench.site.rows import head_of
from perbench.site.values import of_one_seed, value_of

from .turns import Turns, turns_of

SHAPES = ("r2", "n_ir", "n_r2")
FIRST = ("ir", "r2", "n_ir", "n_r2")
"""The order of metrics of whole dialogues; others follow by name."""
WHY_NONE = "with few personas noise moves the values themselves."


class DialogueSection(Section):
    title = "Dialogue, turn by turn"
    order = 20

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        return [block for found in _all(loaded, matrix) for block in _blocks(found, matrix)]

    def verdict(self, loaded: Loaded, matrix: Matrix) -> Sequence[str]:
        found = [one for one in _all(loaded, matrix) if one.better is not None]
        several = sum(one.constant is None for one in found) > 1
        lines = [line for one in found for line in _answers(one, matrix.baseline, several)]
        said = [line for _, line in sorted(lines, key=lambda line: line[0])]
        if said and not several:
            said[0] = f"In dialogue, {said[0]}"
        gains = [gain for one in found for by_turn in one.gains.values() for gain in by_turn.values()]
        return [*said, *of_one_seed(gains)]


def _all(loaded: Loaded, matrix: Matrix) -> list[Turns]:
    """Each metric by turn of each target, the headline first."""
    if "turns" not in matrix.known:
        matrix.known["turns"] = _turns(loaded, matrix)
    found: list[Turns] = matrix.known["turns"]
    return found


def _turns(loaded: Loaded, matrix: Matrix) -> list[Turns]:
    entries = {entry.record.identity: entry for entry in loaded.entries}
    found = []
    for place, column in enumerate(matrix.columns):
        records = [record for _, outcomes in matrix.rows for record in outcomes[place].records]
        names = {name for record in records for name, metric in record.metrics.items() if metric.by_turn}
        for name in sorted(names, key=lambda name: (name != column.headline, name)):
            found.append(turns_of(name, place, matrix, entries))
    return found


def _blocks(found: Turns, matrix: Matrix) -> Iterator[Block]:
    beside = _of_whole_dialogues(found)
    if found.constant is not None:
        yield _no_information(found, beside)
        return
    for model in dict.fromkeys(row.model for row in found.cells):
        panels = _panels(found, model, matrix.baseline)
        if panels:
            yield _chart(found, panels, model if len({row.model for row in found.cells}) > 1 else "")
    yield _table(found, beside)


def _no_information(found: Turns, beside: Sequence[str]) -> Empty:
    count = len(found.scores)
    all_scores = f"{part_of(count, count, 'score')} {'is' if count == 1 else 'are'}"
    value = number(found.constant or 0.0, 0 if (found.constant or 0.0).is_integer() else found.digits)
    left_out = ", ".join([found.name, *beside])
    caveats = (note for note in found.column.notes if note.startswith(f"{found.metric}:"))
    return Empty(
        reason=" ".join(
            (
                f"{all_scores} {value}, so {found.name} tells no model or turn "
                f"from another; {left_out} {'are' if beside else 'is'} left out.",
                *(f"Note: {note.partition(':')[2].strip()}." for note in caveats),
            )
        ),
        caption=f"{found.column.title}: {found.name} carries no information",
    )


# ---------------------------------------------------------------- the curves


def _chart(found: Turns, panels: tuple[Panel, ...], model: str) -> Chart:
    column, first, last = found.column, found.turns[0], found.turns[-1]
    over = any(len(panel.series) > 1 for panel in panels)
    return Chart(
        caption=f"{found.name} at each turn",
        x=Axis("turn", ticks=tuple(sorted({first, (first + last) // 2, last}))),
        y=Axis(found.title, digits=found.digits),
        panels=panels,
        explanation=(
            "Blue: the method. Grey: the baseline, trained on the same data. "
            * over
            + "Bands are 95% intervals; a panel says at which turns the method is ahead after Holm's "
            "correction over all panels and turns."
        ),
        tabled=True,
        target=column.target,
        apart=" · ".join(filter(None, (column.apart, model))),
        notes=_notes(found),
    )


def _panels(found: Turns, model: str, baseline: str | None) -> tuple[Panel, ...]:
    """One per row with a baseline's, else one per row."""
    rows = [row for row in found.cells if row.model == model and _scored(found, row)]
    compared = [row for row in rows if row in found.bases] or rows
    panels = []
    for row in compared:
        base = found.bases.get(row)
        grey = (_series(found, base, "baseline"),) if base is not None and _scored(found, base) else ()
        aside, significant = _aside(found, row, baseline)
        panels.append(
            Panel(
                title=_name(row),
                series=(*grey, _series(found, row, "method")),
                aside=aside,
                significant=significant,
                column=f"trained on {row.source}" if row.source else "not trained",
            )
        )
    return tuple(panels)


def _scored(found: Turns, row: ModelRow) -> bool:
    return any(value.value is not None for value in found.values[row])


def _series(found: Turns, row: ModelRow, role: Role) -> Series:
    points = tuple(
        Point(turn, value.value, value.ci)
        for turn, value in zip(found.turns, found.values[row], strict=True)
        if value.value is not None or value.text == "no score"
    )
    last = [point.y for point in points if point.y is not None][-1]
    return Series(_name(row), points, role, label=number(last, found.digits))


def _name(row: ModelRow) -> str:
    return " ".join(filter(None, (row.trainer or "base model", row.variation)))


def _aside(found: Turns, row: ModelRow, baseline: str | None) -> tuple[str, bool]:
    """What the tests of a panel show, and whether any tells the method from the baseline."""
    if row not in found.bases:
        return "", False
    sides = found.sides(row)
    if not sides:
        return f"not tested against {baseline}", False
    said = [
        f"{word} {baseline} {_at(turns, found.turns)}"
        for side, word in ((1, "ahead of"), (-1, "behind"))
        if (turns := [turn for turn, at in sides.items() if at == side])
    ]
    return ", ".join(said) or f"cannot be told from {baseline}", bool(said)


def _at(turns: Sequence[int], of: Sequence[int]) -> str:
    """ "at every turn", "from turn 3 on", "at turns 2, 5"."""
    if list(turns) == list(of):
        return "at every turn"
    if len(turns) > 1 and list(turns) == list(of[-len(turns) :]):
        return f"from turn {turns[0]} on"
    return f"at turn{'s' * (len(turns) > 1)} {', '.join(map(str, turns))}"


# ---------------------------------------------------------------- the table and the verdict


def _table(found: Turns, beside: Sequence[str]) -> Table:
    moved = [other for other in beside if other in SHAPES]
    heads = ["mean", *beside, *(f"turn {turn}" for turn in found.turns)]
    signatures = {
        record.metrics[found.metric].signature for record in found.records if found.metric in record.metrics
    }
    return Table(
        caption=f"{found.name} per turn",
        first="trained",
        columns=tuple(map(ColumnHead, heads)),
        rows=tuple((head_of(row), _values(found, row, beside)) for row in found.cells),
        target=found.column.target,
        apart=found.column.apart,
        explanation=f"No interval of {', '.join(moved)}: {WHY_NONE}" if moved else "",
        notes=_notes(found),
        signature=" · ".join(sorted(signatures)),
        compact=True,
    )


def _values(found: Turns, row: ModelRow, beside: Sequence[str]) -> tuple[Value, ...]:
    """A row's values over whole dialogues and at each turn. Only the first links to a record."""
    records = found.cells[row]
    others = (replace(value_of(records, other, 2), records=(), flags=()) for other in beside)
    return (found.means[row], *others, *found.values[row])


def _of_whole_dialogues(found: Turns) -> list[str]:
    """Metrics computed from this one, as their signatures show: improvement and agreement."""
    names = (
        name
        for record in found.records
        for name, metric in record.metrics.items()
        if not metric.by_turn and f"|{found.metric}|" in metric.signature
    )
    return sorted(set(names), key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))


def _notes(found: Turns) -> tuple[str, ...]:
    """Those of the target that do not concern another metric by turn."""
    names = {name for record in found.records for name, one in record.metrics.items() if one.by_turn}
    others = tuple(f"{name}:" for name in names - {found.metric})
    return tuple(note for note in found.column.notes if not note.startswith(others))


def _answers(found: Turns, over: str | None, several: bool) -> Iterator[tuple[int, str]]:
    """A sentence per method with its place: first who is ahead, then who is not, then what tells nothing."""
    name = f"{found.name} on {found.column.title}"
    where = f"{name}: " if several else ""
    if found.constant is not None:
        yield 2, f"{name} carries no information: every score is the same."
        return
    methods: dict[str, list[dict[int, int]]] = defaultdict(list)
    for row in found.bases:
        if sides := found.sides(row):
            methods[_name(row) if row.trainer == over else row.trainer or ""].append(sides)
    if not methods:
        if found.bases:
            yield 1, f"{where}no method can be tested against {over}: too few users or no spread."
        return
    open_ = [who for who, rows in methods.items() if not any(any(sides.values()) for sides in rows)]
    for who in (who for who in methods if who not in open_):
        rows = methods[who]
        ahead, behind = (sum(side in sides.values() for sides in rows) for side in (1, -1))
        counts = [
            f"{word} {over} at some turn in {n}" for n, word in ((ahead, "ahead of"), (behind, "behind")) if n
        ]
        # The strongest first.
        yield -ahead, f"{where}{who} is {' and '.join(counts)} of {counted(len(rows), 'comparison')}."
    if open_:
        all_ = len(open_) == len(methods)
        who = "no method can" if all_ else f"{' and '.join(open_)} cannot"
        yield 1, f"{where}{who} be told from {over} at any turn."
