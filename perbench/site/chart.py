"""Draws charts as SVG, with classes and attributes only (the page's policy forbids styles), and lists their
numbers as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from typing import TYPE_CHECKING

from perbench.console.printing import printable
from perbench.contracts.chart import Chart, Panel, Point, Series
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.site import svg
from perbench.site.format import digits_for, number, tick
from perbench.site.scale import DrawnScale, scale_of

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 320, 200
"""Of a panel, in drawing units; a unit is about a pixel if three panels are side by side."""
TOP, BOTTOM, INSET = 10, 38, 6
ROW = 28
"""The height of a category."""
LETTER = 6.4
"""The width of a letter of labels."""
LONGEST = 18
"""Letters of a label; longer ones are cut, and whole in the table."""
APART = 13
"""Least distance of labels one above the other."""
WIDEST = 12
"""Most columns of a chart's table; with more values of x it has a row per point."""
MOST_COLUMNS = 5
"""Of a grid; with more, its panels follow each other."""
LARGE = 1e6
"""From here on numbers are written with an exponent."""
BACK_TO_FRONT = ("other", "baseline", "method")
F1 = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class DrawnPanel:
    panel: Panel
    svg: Markup

    @property
    def heading(self) -> str:
        return " · ".join(filter(None, (self.panel.title, self.panel.column)))


@dataclass(frozen=True)
class Drawing:
    """`columns` are the heads of a grid, whose `rows` have a title and a panel, or None, per column; without
    columns the panels follow each other in one row. `reported` are the sources of hollow marks."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[DrawnPanel | None, ...]], ...]
    reported: tuple[str, ...]


def drawing(chart: Chart) -> Drawing:
    frame = _Frame(chart, chart.panels)
    drawn = [
        DrawnPanel(panel, _svg(_Frame(chart, (panel,)) if chart.own_scale else frame, panel))
        for panel in chart.panels
    ]
    sources = (one.reported for panel in chart.panels for one in panel.series)
    reported = tuple(dict.fromkeys(filter(None, sources)))
    columns = tuple(dict.fromkeys(panel.column for panel in chart.panels if panel.column))
    if not 0 < len(columns) <= MOST_COLUMNS:
        return Drawing((), (("", tuple(drawn)),), reported)
    found = {(one.panel.title, one.panel.column): one for one in drawn}
    titles = dict.fromkeys(panel.title for panel in chart.panels)
    rows = tuple((title, tuple(found.get((title, column)) for column in columns)) for title in titles)
    return Drawing(columns, rows, reported)


# ---------------------------------------------------------------- in numbers


def table_of(chart: Chart) -> Table:
    """A chart's numbers: a row per series and a column per x, or a row per point if there are many. Series
    that other panels repeat in grey are listed once."""
    lines = _lines(chart)
    digits = _digits(chart)
    places = sorted({point.x for _, series in lines for point in series.points})
    wide = len(places) <= WIDEST and all(
        len({point.x for point in series.points}) == len(series.points) for _, series in lines
    )
    rows: list[tuple[RowHead, tuple[Value | str, ...]]] = []
    for panel, series in lines:
        head = RowHead(
            name=series.name,
            detail=" · ".join(filter(None, (panel.title, panel.column))),
            reported=series.reported,
        )
        if wide:
            by_place = {point.x: _value(point, digits) for point in series.points}
            rows.append((head, tuple(by_place.get(x, "—") for x in places)))
        else:
            rows += [
                (head, (Value(point.x, text=_at(chart, point.x)), _value(point, digits)))
                for point in series.points
            ]
    at = tuple(
        ColumnHead(_at(chart, x) if chart.categories else f"{chart.x.label} {tick(x)}") for x in places
    )
    return Table(
        caption=chart.caption,
        first="series",
        columns=at if wide else (ColumnHead(chart.x.label), ColumnHead(chart.y.label)),
        rows=tuple(rows),
        target=chart.target,
        apart=chart.apart,
        notes=chart.notes,
        minor=True,
    )


def _lines(chart: Chart) -> list[tuple[Panel, Series]]:
    lines = [(panel, series) for panel in chart.panels for series in panel.series if series.points]
    own = {(series.name, series.points) for _, series in lines if series.role == "method"}
    return [
        (panel, series)
        for panel, series in lines
        if series.role != "other" or (series.name, series.points) not in own
    ]


def _value(point: Point, digits: int) -> Value:
    return Value(point.y, ci=point.ci, digits=digits, text="" if point.y is not None else "no score")


def _at(chart: Chart, x: float) -> str:
    return chart.categories[int(x)] if chart.categories else tick(x)


def _digits(chart: Chart) -> int:
    values = [one for panel in chart.panels for one in _values(panel.series)]
    return digits_for(values) if chart.y.digits is None else chart.y.digits


def _number(value: float, digits: int) -> str:
    return number(value, digits) if abs(value) < LARGE else tick(value)


def _values(series: Iterable[Series]) -> list[float]:
    """The values of y and the ends of their intervals."""
    points = chain.from_iterable(one.points for one in series)
    return [value for point in points if point.y is not None for value in (point.y, *(point.ci or ()))]


def _in_words(chart: Chart, panel: Panel, digits: int) -> str:
    """The text alternative of a panel: "perce: 0.325 at 2e−6, 0.359 at 5e−5"."""
    said = []
    for series in panel.series:
        points = [point for point in series.points if point.y is not None]
        ends = points if chart.categories or len(points) < 3 else [points[0], points[-1]]
        values = ", ".join(f"{_number(one.y or 0.0, digits)} at {_at(chart, one.x)}" for one in ends)
        source = f", reported in {series.reported}" if series.reported else ""
        said.append(f"{series.name}{source}: {values or 'no score'}")
    heading = " · ".join(filter(None, (panel.title, panel.column, panel.aside)))
    axes = f"{chart.y.label} over {chart.x.label}" if not chart.categories else chart.y.label
    return ". ".join(filter(None, (heading, axes, "; ".join(said))))


# ---------------------------------------------------------------- in SVG


class _Frame:
    """What panels on one scale share, computed once: a chart may have a thousand."""

    def __init__(self, chart: Chart, shown: Sequence[Panel]) -> None:
        """
        Args:
            shown: the panels of the scale.
        """
        self.chart = chart
        self.digits = _digits(chart)
        self.hollow = any(
            point.ci for panel in chart.panels for series in panel.series for point in series.points
        )
        """Whether a dot without an interval is an exception, drawn hollow."""
        self.values = [value for panel in shown for value in _values(panel.series)]
        if chart.categories:
            self._over_categories()
        else:
            self._over_numbers()

    def _over_numbers(self) -> None:
        chart = self.chart
        series = [one for panel in chart.panels for one in panel.series]
        self.bottom = HEIGHT - BOTTOM
        self.y = scale_of(chart.y, self.values, self.bottom, TOP, round_up=True)
        self.left = round(8 + max((len(tick(one)) for one in self.y.ticks), default=0) * LETTER)
        self.right = round(WIDTH - 8 - max((len(_cut(one.label)) for one in series), default=0) * LETTER)
        along = [point.x for one in series for point in one.points]
        ends = self.left + INSET, self.right - INSET
        self.x = scale_of(chart.x, along, *ends, round_up=chart.x.log and not chart.x.ticks)

    def _over_categories(self) -> None:
        chart = self.chart
        self.left = round(12 + max(len(_cut(name)) for name in chart.categories) * LETTER)
        width = max(len(_number(value, self.digits)) for value in self.values or [0.0]) * LETTER
        self.right = round(WIDTH - 16 - width)
        self.x = scale_of(chart.y, self.values, self.left + INSET, self.right - INSET, round_up=True)


def _svg(frame: _Frame, panel: Panel) -> Markup:
    from markupsafe import Markup

    chart = frame.chart
    parts, height = _categories(frame, panel) if chart.categories else _plane(frame, panel)
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, height, printable(_in_words(chart, panel, frame.digits))
    )
    return opening + Markup("").join(parts) + Markup("</svg>")


def _plane(frame: _Frame, panel: Panel) -> tuple[list[Markup], int]:
    """A panel over a numeric x."""
    x, y, left, right, bottom = frame.x, frame.y, frame.left, frame.right, frame.bottom
    parts = [svg.grid(f"M{left} {y(one)}H{right}" for one in y.ticks)]
    parts.append(svg.texts("end", [(tick(one), left - 6, y(one) + 4) for one in y.ticks]))
    below = [(text, at, bottom + 17) for text, at in _ticks(x)]
    parts.append(svg.texts("middle", [*below, (f"{frame.chart.x.label} →", (left + right) / 2, HEIGHT - 4)]))
    if frame.chart.iso_f1:
        parts += _iso_f1(x, y)
    parts += _labels(panel, x, y, bottom)
    ordered = sorted(panel.series, key=lambda one: BACK_TO_FRONT.index(one.role))
    return parts + [svg.group(one, list(_marks(one, x, y, frame.hollow))) for one in ordered], HEIGHT


def _marks(series: Series, x: DrawnScale, y: DrawnScale, hollow: bool) -> Iterator[Markup]:
    if series.drawn == "dots" or series.reported:
        for point in series.points:
            if point.y is None:
                continue
            at, height = x(point.x), y(point.y)
            if point.ci is not None:
                yield svg.line("iv", at, y(point.ci[0]), at, y(point.ci[1]))
            yield svg.mark(series, at, height, hollow and point.ci is None)
        return
    for run in _runs(series.points):
        banded = [(x(point.x), y(point.ci[0]), y(point.ci[1])) for point in run if point.ci is not None]
        upper, lower = [(at, hi) for at, _, hi in banded], [(at, lo) for at, lo, _ in banded]
        if len(banded) == 1:
            yield svg.line("iv", *lower[0], *upper[0])
        elif banded:
            yield svg.shape("polygon", "band", [*upper, *reversed(lower)])
    for run in _runs(series.points):
        drawn = [(x(point.x), y(point.y)) for point in run if point.y is not None]
        if series.drawn == "steps":
            corners = [(after[0], before[1]) for before, after in pairwise(drawn)]
            drawn = [*chain.from_iterable(zip(drawn, corners, strict=False)), drawn[-1]]
        yield svg.shape("polyline", "curve", drawn) if len(drawn) > 1 else svg.mark(series, *drawn[0], False)


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The points between missing ones."""
    for scored, run in groupby(points, key=lambda point: point.y is not None):
        if scored:
            yield list(run)


@dataclass
class _Label:
    series: Series
    x: float
    y: float

    @property
    def text(self) -> str:
        return _cut(self.series.label)

    def hits(self, other: _Label) -> bool:
        """Whether one would overwrite the other at the same height."""
        return abs(self.x - other.x) < max(len(self.text), len(other.text)) * LETTER


def _labels(panel: Panel, x: DrawnScale, y: DrawnScale, bottom: float) -> list[Markup]:
    """The texts at the last points, moved apart where they would overlap."""
    labels = []
    for series in panel.series:
        scored = [(point.x, point.y) for point in series.points if point.y is not None]
        if series.label and scored:
            labels.append(_Label(series, x(scored[-1][0]), y(scored[-1][1])))
    labels.sort(key=lambda label: label.y)
    for n, label in enumerate(labels):
        label.y = max([label.y, *(other.y + APART for other in labels[:n] if label.hits(other))])
    for n, label in reversed(list(enumerate(labels))):
        label.y = min([label.y, bottom, *(one.y - APART for one in labels[n + 1 :] if label.hits(one))])
        label.y = max(label.y, TOP)
    return [
        svg.group(label.series, [svg.text(label.text, label.x + 9, round(label.y + 4, 1), "start", "label")])
        for label in labels
    ]


def _categories(frame: _Frame, panel: Panel) -> tuple[list[Markup], int]:
    """A panel whose values run to the right, a row per category."""
    chart, digits, hollow, left, along = frame.chart, frame.digits, frame.hollow, frame.left, frame.x
    height = len(chart.categories) * ROW + 24
    ticks = _ticks(along)
    parts = [svg.grid(f"M{at} 0V{height - 20}" for _, at in ticks)]
    parts.append(svg.texts("middle", [(text, at, height - 6) for text, at in ticks]))
    before: set[str] = set()
    for row, name in enumerate(chart.categories):
        middle = row * ROW + ROW / 2
        found = [(one, point) for one in panel.series for point in one.points if point.x == row]
        names = {one.name for one, _ in found}
        if before and names and not names & before:
            parts.append(svg.line("zero", 0, row * ROW, WIDTH, row * ROW))
        before = names or before
        parts.append(svg.text(_cut(name), left - 6, middle + 4, "end"))
        for place, (series, point) in enumerate(found):
            if point.y is None:
                continue
            level = round(middle + (place - (len(found) - 1) / 2) * (ROW - 8) / max(3, len(found)), 1)
            marks = [svg.mark(series, along(point.y), level, hollow and point.ci is None)]
            if point.ci is not None:
                marks.insert(0, svg.line("iv", along(point.ci[0]), level, along(point.ci[1]), level))
            parts.append(svg.group(series, marks))
        first = next((point.y for _, point in found if point.y is not None), None)
        value = "" if first is None else _number(first, digits)
        parts.append(svg.text(value or "no score", WIDTH - 2, middle + 4, "end", "strong" if value else ""))
    return parts, height


def _iso_f1(x: DrawnScale, y: DrawnScale) -> list[Markup]:
    """Precision over recall at equal F1: p = f r / (2r − f)."""
    parts = []
    for f1 in F1:
        recalls = [f1 / (2 - f1) + n / 40 * (1 - f1 / (2 - f1)) for n in range(41)]
        line = [(x(r), y(f1 * r / (2 * r - f1))) for r in recalls]
        parts.append(svg.shape("polyline", "iso", line))
        text = f"F1 {f1:g}" if f1 == F1[0] else f"{f1:g}"
        parts.append(svg.text(text, x(1) - 2, y(f1 / (2 - f1)) - 3, "end", "isol"))
    return parts


def _ticks(scale: DrawnScale) -> list[tuple[str, float]]:
    """Labels with positions; the first and the last, and those between that have room."""
    found = [(tick(one), scale(one)) for one in scale.ticks]
    if len(found) < 3:
        return found
    kept, last = [found[0]], found[-1]
    for text, at in found[1:-1]:
        room = (len(text) + 3) * LETTER
        if abs(at - kept[-1][1]) >= room and abs(last[1] - at) >= room:
            kept.append((text, at))
    return [*kept, last]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
