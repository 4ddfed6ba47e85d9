"""Marks and texts of a chart as SVG: colours and widths are the style sheet's, all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from perbench.console.printing import printable
from perbench.contracts.chart import Series


def group(series: Series, marks: Sequence[Markup]) -> Markup:
    return Markup('<g class="{}">{}</g>').format(series.role, Markup("").join(marks))


def mark(series: Series, x: float, y: float, hollow: bool) -> Markup:
    if series.reported:
        return Markup('<path class="reported" d="M{} {}l4.5 4.5-4.5 4.5-4.5-4.5z"/>').format(
            x, round(y - 4.5, 1)
        )
    kind = "dot hollow" if hollow else "dot"
    return Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(kind, x, y)


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def shape(tag: str, kind: str, points: Iterable[tuple[float, float]]) -> Markup:
    listed = " ".join(f"{x},{y}" for x, y in points)
    return Markup('<{} class="{}" points="{}"/>').format(tag, kind, listed)


def grid(paths: Iterable[str]) -> Markup:
    """The lines behind the marks."""
    return Markup('<path class="gridl" d="{}"/>').format("".join(paths))


def texts(anchor: str, texts: Sequence[tuple[str, float, float]]) -> Markup:
    """Texts with their places."""
    parts = (
        Markup('<text x="{}" y="{}">{}</text>').format(round(x, 1), y, printable(text))
        for text, x, y in texts
    )
    return Markup('<g text-anchor="{}">{}</g>').format(anchor, Markup("").join(parts))


def text(text: str, x: float, y: float, anchor: str, kind: str = "") -> Markup:
    opening = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">').format(kind, round(x, 1), y, anchor)
    return opening + Markup("{}</text>").format(printable(text))
