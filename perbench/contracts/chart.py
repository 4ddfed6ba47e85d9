"""A chart of small multiples, and the box that takes the place of what cannot be shown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Literal

Role = Literal["method", "baseline", "other"]


@dataclass(frozen=True)
class Point:
    """`y` with its 95% interval. None breaks a line: there is no score at `x`."""

    x: float
    y: float | None
    ci: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """`role` is its colour: a panel's one method is blue, the baseline and others are grey. `label` is the
    text at its last point, "" for none.

    A "line" has its intervals as a band, "dots" have them as bars; "steps" is a line that is constant up to
    the next point. `reported` names the source of values that were not measured here; they are drawn as
    hollow marks.
    """

    name: str
    points: tuple[Point, ...]
    role: Role = "other"
    drawn: Literal["line", "steps", "dots"] = "line"
    label: str = ""
    reported: str = ""


@dataclass(frozen=True)
class Panel:
    """`aside` is what the panel shows, in a few words; `significant` whether a corrected test supports it."""

    title: str
    series: tuple[Series, ...]
    aside: str = ""
    significant: bool = False
    column: str = ""
    """If the panels have columns, the chart is a grid: a row per `title`, a column per `column`."""


@dataclass(frozen=True)
class Axis:
    """`low` and `high` are ends of the axis that the data do not determine, `ticks` its labelled values
    (default: round numbers), `digits` the decimals shown (default: as many as are needed)."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: tuple[float, ...] = ()
    digits: int | None = None


@dataclass(frozen=True)
class Chart:
    """Panels of one kind. `caption` is a few words, `explanation` says what is drawn and what each colour is;
    `notes` are caveats.

    With `categories`, each x is a place among them: they are listed from top to bottom, and values run to the
    right. `own_scale`: each panel has a y axis of its own. `iso_f1` draws lines of equal F1, for a y axis of
    precision and an x axis of recall.
    """

    caption: str
    x: Axis
    y: Axis
    panels: tuple[Panel, ...]
    explanation: str = ""
    categories: tuple[str, ...] = ()
    own_scale: bool = False
    iso_f1: bool = False
    tabled: bool = False
    """Whether a table of the section holds its numbers; else one is added to it."""
    target: str = ""
    """As of a `Table`."""
    apart: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for panel in self.panels:
            for series in panel.series:
                for point in series.points:
                    if fault := self._fault(point):
                        raise ValueError(f"panel {panel.title!r}, series {series.name!r}: {fault}")

    def _fault(self, point: Point) -> str:
        y = [*([] if point.y is None else [point.y]), *(point.ci or ())]
        if not all(map(isfinite, chain([point.x], y))):
            return f"{point} is not finite"
        if point.ci is not None and (point.y is None or point.ci[0] > point.ci[1]):
            return f"{point} has no value, or an interval that ends before it begins"
        if self.categories and point.x not in range(len(self.categories)):
            return f"x {point.x:g} is no place among {len(self.categories)} categories"
        for name, axis, values in (("x", self.x, [point.x]), ("y", self.y, y)):
            if axis.log and min(values, default=1.0) <= 0:
                return f"{name} {min(values):g} on a log axis"
        return ""

    @property
    def title(self) -> str:
        """ "longlamp/pag · 8 examples"."""
        return " · ".join(filter(None, (self.target, self.apart)))


@dataclass(frozen=True)
class Empty:
    """Why there is nothing to show, in a sentence, and the command that changes it."""

    reason: str
    command: str = ""
    caption: str = ""
