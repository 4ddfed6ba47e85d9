"""What the page's tables draw: interval bars, shades, groups of rows, and the card of a cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from perbench.console.printing import printable
from perbench.contracts.results import Flag
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.progress import counted
from perbench.site.comparisons import WinLoss
from perbench.site.format import between, number, p_value

if TYPE_CHECKING:
    from markupsafe import Markup

SHADES = 4
MARGIN = 4.0
"""Of a bar, on each side, in drawing units."""
Scale = tuple[float, float]


@dataclass(frozen=True)
class TableLine:
    """A row with its place among the rows of its group; `kind` is "base" for a model as it is, "baseline", or
    "method"."""

    head: RowHead
    values: tuple[Value | str, ...]
    kind: str
    first: bool
    own: tuple[str, ...]
    """Classes that outline the group's cells of its own task, one for each value."""


@dataclass(frozen=True)
class RowGroup:
    """Adjacent rows that share model, source and settings. `model` is given where it changes."""

    model: str
    source: str
    training: str
    lines: tuple[TableLine, ...]


def grouped(table: Table) -> list[RowGroup]:
    found, before = [], None
    for _, rows in groupby(table.rows, key=lambda row: row[0].group):
        lines = list(rows)
        head = lines[0][0]
        model = " ".join(filter(None, (head.model, f"({head.model_label})" if head.model_label else "")))
        found.append(
            RowGroup(
                model=model if (head.model, head.model_label) != before else "",
                source=head.trained_on or "",
                training=_common(lines),
                lines=tuple(_lines(lines)),
            )
        )
        before = (head.model, head.model_label)
    return found


def _common(rows: Sequence[tuple[RowHead, Sequence[Value | str]]]) -> str:
    """The variation that all rows of a group share."""
    found = {head.variation for head, _ in rows}
    return found.pop() if len(rows) > 1 and len(found) == 1 else ""


def _lines(rows: Sequence[tuple[RowHead, tuple[Value | str, ...]]]) -> Iterator[TableLine]:
    own = [[isinstance(value, Value) and value.own for value in values] for _, values in rows]
    for place, (head, values) in enumerate(rows):
        classes = tuple(
            " ".join(
                filter(
                    None,
                    (
                        "own" if mine else "",
                        "own1" if mine and not (place and own[place - 1][column]) else "",
                        "own2" if mine and not (place + 1 < len(rows) and own[place + 1][column]) else "",
                    ),
                )
            )
            for column, mine in enumerate(own[place])
        )
        yield TableLine(head, values, _kind(head, values), place == 0, classes)


def _kind(head: RowHead, values: Sequence[Value | str]) -> str:
    if any(isinstance(value, Value) and value.versus == "gain" for value in values):
        return "method"
    if any(isinstance(value, Value) and value.versus == "baseline" for value in values):
        return "baseline"
    return "base" if head.trained_on == "" else "method"


def families(table: Table) -> list[tuple[str, int]]:
    """Metrics of adjacent columns with their direction, and how many columns each heads."""
    found = []
    for metric, held in groupby(
        zip(table.columns, table.numbers, strict=True), key=lambda one: one[0].metric
    ):
        columns = [values for _, values in held]
        found.append((metric + arrow([value for values in columns for value in values]), len(columns)))
    return found


def arrow(values: Sequence[Value]) -> str:
    """Which direction is better, of a column."""
    sides = {value.better for value in values}
    return {"higher": " ↑", "lower": " ↓"}.get(str(sides.pop()), "") if len(sides) == 1 else ""


def gain_scales(table: Table) -> list[Scale | None]:
    """For each column the range of its gains' intervals, with 0."""
    return [
        _scale([bound for v in column if v.gain and v.gain.ci for bound in v.gain.ci], zero=True)
        for column in table.numbers
    ]


def value_scales(table: Table) -> list[Scale | None]:
    """For each column the range of its values' intervals."""
    return [_scale([bound for v in column if v.ci for bound in v.ci], zero=False) for column in table.numbers]


def _scale(bounds: Sequence[float], *, zero: bool) -> Scale | None:
    known = [bound for bound in bounds if math.isfinite(bound)] + [0.0] * zero
    if len(known) < 2 or min(known) == max(known):
        return None
    return min(known), max(known)


def largest_gains(table: Table) -> list[float]:
    """For each column the largest absolute gain, which has the darkest shade."""
    return [
        max((abs(v.gain.value) for v in column if v.gain and v.gain.value), default=0.0)
        for column in table.numbers
    ]


def shade(value: Value, largest: float) -> str:
    """Class of a gain: blue for better, orange for worse, stronger with size; none unless it remains after
    Holm's correction."""
    gain = value.gain
    if gain is None or not gain.value or not value.verdict or not gain.remains or not largest:
        return "ns" if gain is not None else ""
    step = min(SHADES, math.ceil(SHADES * abs(gain.value) / largest))
    return f"{'b' if value.verdict == 'up' else 'o'}{step}"


@dataclass(frozen=True)
class Bar:
    """Positions on a drawing `width` wide: of the interval's ends, the value, and 0 (None outside)."""

    width: float
    low: float
    high: float
    at: float
    zero: float | None


def bar(at: float | None, ci: tuple[float, float] | None, scale: Scale | None, width: float) -> Bar | None:
    """None without an interval or a scale, and if the interval has no width: it would look certain."""
    if at is None or ci is None or scale is None or ci[0] == ci[1]:
        return None
    low, high = scale

    def place(value: float) -> float:
        inside = max(low, min(high, value))
        return round(MARGIN + (inside - low) / (high - low) * (width - 2 * MARGIN), 1)

    return Bar(width, place(ci[0]), place(ci[1]), place(at), place(0.0) if low <= 0 <= high else None)


def verdict_words(value: Value, baseline: str | None) -> str:
    """What the gain's test says."""
    gain = value.gain
    if gain is None or gain.value is None:
        return ""
    if gain.ci is None:
        return "no test"
    side = {"up": f"better than {baseline}", "down": f"worse than {baseline}", "": f"differs from {baseline}"}
    p = gain.adjusted if gain.adjusted is not None else gain.p
    words = f", {p_value(p)} corrected" if gain.adjusted is not None and p is not None else ""
    if gain.remains:
        return side[value.verdict] + words
    alone = "; alone its interval excludes 0" if gain.excludes_zero else ""
    return f"not separable from {baseline}{words}{alone}"


def card(value: Value, baseline: str | None) -> list[tuple[str, str]]:
    """The details of a cell, as (name, text)."""
    found = []
    if value.is_gain:
        found.append(("over", value.aside))
    elif value.value is not None and not value.text:
        ci = f" ({between(value.ci, value.digits)})" if value.ci else ""
        aside = f", {value.ci_aside}" if value.ci_aside else ""
        found.append(("score", number(value.value, value.digits) + ci + aside))
    elif value.text:
        found.append(("score", ": ".join(filter(None, (value.text, value.aside)))))
    gain = value.gain
    if gain is not None and gain.value is not None:
        ci = f" ({between(gain.ci, value.digits, signed=True)})" if gain.ci else ", no interval"
        found.append(("gain", number(gain.value, value.digits, signed=True) + ci))
        found.append(("test", verdict_words(value, baseline)))
    elif value.versus == "gain":
        found.append(("gain", "no shared samples"))
    if value.rank:
        ranks = "–".join(map(str, dict.fromkeys(value.rank)))
        found.append(("rank", ranks))
    size = [counted(value.n, "answer")] if value.n else []
    if gain is not None and gain.users:
        size.append(counted(gain.users, "user"))
    done = sum(record.status == "done" for record in value.records)
    if value.is_gain and gain is not None:
        done = gain.seeds
    if done:
        size.append(counted(done, "seed"))
    if value.missing:
        size.append(f"{value.missing} without a score")
    if gain is not None and gain.missing:
        size.append(f"{counted(gain.missing, 'pair')} left out")
    if size:
        found.append(("from", ", ".join(size)))
    return found + [("note", flag.text) for flag in value.flags]


def common_flags(table: Table) -> set[str]:
    """Keys of flags that most values of a table have, which are said once above it."""
    values = [value for column in table.numbers for value in column]
    counts = Counter(flag.key for value in values for flag in value.flags if flag.key)
    return {key for key, count in counts.items() if count > 1 and 2 * count > len(values)}


def rare(value: Value, common: Collection[str]) -> list[Flag]:
    return [flag for flag in value.flags if flag.key not in common]


def caveats(table: Table) -> list[tuple[str, str]]:
    """Notes of columns, each once, with the columns that have it."""
    found: dict[str, list[str]] = {}
    for column in table.columns:
        for note in column.notes:
            found.setdefault(note, []).append(column.title)
    return [(", ".join(names), note) for note, names in found.items()]


def separable(line: TableLine) -> bool:
    """Whether any gain of a row remains after correction."""
    return any(isinstance(v, Value) and v.gain is not None and v.gain.remains for v in line.values)


def digits(values: Sequence[Value]) -> int:
    return values[0].digits if values else 3


def widths(table: Table) -> list[tuple[int, int]]:
    """For each column, the digits before the decimal point of its largest value and gain."""

    def widest(found: Iterable[tuple[float | None, int]]) -> int:
        shown = (number(abs(one), digits) for one, digits in found if one is not None)
        return max((len(text.partition(".")[0]) for text in shown), default=1)

    return [
        (
            widest((v.value, v.digits) for v in column),
            widest((v.gain.value, v.digits) for v in column if v.gain),
        )
        for column in table.numbers
    ]


def filtered(head: RowHead, *, row: bool = True) -> Markup:
    """Attributes by which a row is filtered, or without `row` the heading of a group."""
    from markupsafe import Markup, escape

    found = {"model": head.model, "source": head.trained_on, **({"trainer": head.name} if row else {})}
    shown = {name: escape(printable(value)) for name, value in found.items() if value}
    return Markup(" ".join(f'data-{name}="{value}"' for name, value in shown.items()))


def choices(table: Table) -> list[tuple[str, str, list[str]]]:
    """Filters of rows as (name, label, options), each with at least two."""
    heads = [head for head, _ in table.rows]
    names = {"trained": "Trainer", "model": "Method"}.get(table.first, table.first.capitalize())
    found: list[tuple[str, str, list[str | None]]] = [
        ("model", "Model", [head.model for head in heads]),
        ("trainer", names, [head.name for head in heads]),
        ("source", "Trained on", [head.trained_on for head in heads]),
    ]
    kept = [(name, label, list(dict.fromkeys(filter(None, all_)))) for name, label, all_ in found]
    return [(name, label, options) for name, label, options in kept if len(options) > 1]


def seeds(table: Table) -> list[int]:
    """Training seeds behind a table's values."""
    values = [value for column in table.numbers for value in column]
    return sorted({record.labels.seed for value in values for record in value.records})


def by_seed(value: Value, column: ColumnHead) -> str:
    """The scores of single seeds for the seed filter, such as "0:0.123 1:0.130"."""
    found = []
    for record in value.records:
        metric = record.metrics.get(column.metric)
        if metric is not None and metric.value is not None and len(value.records) > 1:
            found.append(f"{record.labels.seed}:{number(metric.value, value.digits)}")
    return " ".join(found)


STRIP = 440.0
"""Width of a tally's strip, in drawing units."""
NARROWEST = 18.0
"""Of a part of it, so that its number fits."""
CENTRED = 40.0
"""Width below which a part's number is centred; else it is at the left."""


@dataclass(frozen=True)
class Segment:
    """A part of a tally's strip: `kind` is its class, `label` the place of its number."""

    kind: str
    count: int
    at: float
    width: float
    label: float
    anchor: str


def strip(tally: WinLoss) -> list[Segment]:
    """How many comparisons a method won, could not decide, lost and misses, as parts of one bar."""
    counts = {"won": tally.won, "open": tally.open, "lost": tally.lost, "gone": tally.missing}
    widths = {kind: max(NARROWEST, STRIP * n / tally.total) for kind, n in counts.items() if n}
    if not widths:
        return []
    widest = max(widths, key=lambda kind: widths[kind])
    widths[widest] -= sum(widths.values()) - STRIP
    found, at = [], 0.0
    for kind, width in widths.items():
        middle = width < CENTRED
        label = at + ((width - 2) / 2 if middle else 8)
        found.append(
            Segment(
                kind,
                counts[kind],
                round(at, 1),
                round(width - 2, 1),
                round(label, 1),
                "middle" if middle else "start",
            )
        )
        at += width
    return found
