"""Charts: where marks lie, that any finite data can be drawn, that text stays text, and that every number is
in the chart's table."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.contracts.chart import Axis, Chart, Panel, Point, Series
from perbench.contracts.section import Value
from perbench.site.chart import HEIGHT, WIDTH, drawing, table_of
from perbench.site.format import tick
from perbench.site.scale import scale_of

UNIT = Axis("share", low=0, high=1, ticks=(0, 1), digits=2)
PLACES = ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2")
TAGS = {"svg", "g", "line", "text", "circle", "path", "polygon", "polyline"}


def one(*series: Series, **fields: Any) -> Chart:
    return Chart("Levels", Axis("turn", ticks=(1, 2)), UNIT, (Panel("perce", series),), **fields)


def svgs(chart: Chart) -> list[ElementTree.Element]:
    return [
        ElementTree.fromstring(str(panel.svg))
        for _, panels in drawing(chart).rows
        for panel in panels
        if panel is not None
    ]


def marks(chart: Chart) -> list[tuple[str, str, dict[str, str]]]:
    """(role, class, attributes) of the marks of a chart with one panel, in drawing order."""
    (svg,) = svgs(chart)
    return [
        (group.attrib["class"], mark.attrib.pop("class"), dict(mark.attrib))
        for group in svg.iter("g")
        if "class" in group.attrib
        for mark in group
    ]


# ---------------------------------------------------------------- geometry
#
# The plane is 320 x 200 with 10 above and 38 below, so y(v) = 162 - 152 v. Labels "0" and "1" leave 14 at the
# left, nothing is written at the right: 312; points keep 6 inside: x(1) = 20, x(2) = 306.


def test_a_line_with_a_band() -> None:
    points = (Point(1, 0.25, (0.0, 0.5)), Point(2, 0.75, (0.5, 1.0)))
    assert marks(one(Series("perce", points, "method"))) == [
        ("method", "band", {"points": "20.0,86.0 306.0,10.0 306.0,86.0 20.0,162.0"}),
        ("method", "curve", {"points": "20.0,124.0 306.0,48.0"}),
    ]
    (svg,) = svgs(one(Series("perce", points)))
    assert [path.attrib["d"] for path in svg.iter("path")] == ["M14 162.0H312M14 10.0H312"]


def test_steps_dots_and_reported_values() -> None:
    points = (Point(1, 0.25), Point(2, 0.75))
    assert marks(one(Series("a", points, drawn="steps"))) == [
        ("other", "curve", {"points": "20.0,124.0 306.0,124.0 306.0,48.0"})
    ]
    dots = marks(one(Series("a", (Point(1, 0.25, (0, 0.5)), Point(2, 0.75)), "method", "dots")))
    assert dots == [
        ("method", "iv", {"x1": "20.0", "y1": "162.0", "x2": "20.0", "y2": "86.0"}),
        ("method", "dot", {"cx": "20.0", "cy": "124.0", "r": "4"}),
        ("method", "dot hollow", {"cx": "306.0", "cy": "48.0", "r": "4"}),
    ]
    reported = Series("a", points, "baseline", reported="A Table 1")
    assert [(role, kind) for role, kind, _ in marks(one(reported))] == [("baseline", "reported")] * 2
    assert drawing(one(reported)).reported == ("A Table 1",)


def test_a_missing_value_breaks_the_line() -> None:
    points = (Point(1, 0.0), Point(1.5, None), Point(2, 1.0))
    assert [(kind, at) for _, kind, at in marks(one(Series("a", points)))] == [
        ("dot", {"cx": "20.0", "cy": "162.0", "r": "4"}),
        ("dot", {"cx": "306.0", "cy": "10.0", "r": "4"}),
    ]


def test_the_method_is_drawn_last_and_labels_keep_apart() -> None:
    series = (
        Series("perce", (Point(2, 0.5),), "method", label="perce"),
        Series("ce", (Point(2, 0.5),), "baseline", label="ce"),
    )
    found = marks(one(*series))
    assert [role for role, kind, _ in found if kind == "dot"] == ["baseline", "method"]
    heights = [float(at["y"]) for _, kind, at in found if kind == "label"]
    assert abs(heights[0] - heights[1]) == 13


def test_categories_run_down_and_values_to_the_right() -> None:
    """Names of 5 letters leave 12 + 5 * 6.4 = 44, so 0 is at 50; values of 4 leave 320 - 16 - 25.6 = 278 at
    the right, so 1 is at 272. Rows are 28 high, their middles at 14 and 42."""
    series = (
        Series("recall", (Point(0, 0.5, (0.25, 1.0)),), "method", "dots"),
        Series("false", (Point(1, 0.0),), "other", "dots"),
    )
    chart = one(*series, categories=("style", "plain"))
    assert marks(chart) == [
        ("method", "iv", {"x1": "105.5", "y1": "14.0", "x2": "272.0", "y2": "14.0"}),
        ("method", "dot", {"cx": "161.0", "cy": "14.0", "r": "4"}),
        ("other", "dot hollow", {"cx": "50.0", "cy": "42.0", "r": "4"}),
    ]
    (svg,) = svgs(chart)
    assert [line.attrib["y1"] for line in svg.iter("line") if line.attrib["class"] == "zero"] == ["28"]


def test_a_grid_of_panels_has_a_place_for_each_pair() -> None:
    panels = tuple(
        Panel(title, (Series("a", (Point(1, 0.5),)),), column=column)
        for title, column in (("perce", "pag"), ("perce", "prw"), ("nextquill", "prw"))
    )
    found = drawing(replace(one(), panels=panels))
    assert found.columns == ("pag", "prw")
    assert [(title, [panel is not None for panel in row]) for title, row in found.rows] == [
        ("perce", [True, True]),
        ("nextquill", [False, True]),
    ]
    many = tuple(replace(panels[0], column=str(n)) for n in range(6))
    (row,) = drawing(replace(one(), panels=many)).rows
    assert [panel.heading for panel in row[1] if panel] == [f"perce · {n}" for n in range(6)]


@pytest.mark.parametrize(
    ("axis", "values", "ticks"),
    [
        (Axis("y"), [0.226, 0.373], (0.2, 0.25, 0.3, 0.35, 0.4)),
        (Axis("y"), [0.0, 1.0], (0.0, 0.5, 1.0)),
        (Axis("y"), [-3.0, 12.0], (-5.0, 0.0, 5.0, 10.0, 15.0)),
        (Axis("y"), [7.0, 7.0], (6.6, 6.8, 7.0, 7.2, 7.4)),
        (Axis("y", low=0, high=1), [0.3], (0.0, 0.5, 1.0)),
        (Axis("x", log=True), [1.1, 90.0], (1.0, 10.0, 100.0)),
        (Axis("x", log=True), [10.0], (10.0, 100.0)),
        (Axis("x", ticks=(2e-6, 5e-5)), [2e-6, 5e-6, 5e-5], (2e-6, 5e-5)),
    ],
)
def test_ticks_are_round_numbers(axis: Axis, values: list[float], ticks: tuple[float, ...]) -> None:
    assert scale_of(axis, values, 0, 100, round_up=True).ticks == pytest.approx(ticks)


def test_tick_labels() -> None:
    values = (0.05, -0.5, 2e-6, 5e-5, 10_000, 1e6, 1e-300)
    assert list(map(tick, values)) == ["0.05", "−0.5", "2e−6", "5e−5", "10,000", "1e6", "1e−300"]


# ---------------------------------------------------------------- any finite data

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    categories = draw(st.sampled_from([(), ("a", "b" * 40)]))
    logs = draw(st.booleans()) and not categories, draw(st.booleans())
    places, values = (POSITIVE if log else FINITE for log in logs)
    if categories:
        places = st.sampled_from([0.0, 1.0])

    def point() -> Point:
        y = draw(st.none() | values)
        ends = sorted([draw(values), draw(values)]) if y is not None and draw(st.booleans()) else None
        return Point(draw(places), y, None if ends is None else (ends[0], ends[1]))

    def series() -> Series:
        return Series(
            draw(st.text(max_size=30)),
            tuple(point() for _ in range(draw(st.integers(0, 4)))),
            draw(st.sampled_from(["method", "baseline", "other"])),
            draw(st.sampled_from(["line", "steps", "dots"])),
            draw(st.text(max_size=30)),
            draw(st.sampled_from(["", "A Table 1"])),
        )

    fixed = draw(st.booleans()) and not any(logs)
    y = Axis("y", logs[1], low=0.0 if fixed else None, high=1.0 if fixed else None)
    panels = tuple(
        Panel(draw(st.text(max_size=9)), tuple(series() for _ in range(draw(st.integers(0, 3)))))
        for _ in range(draw(st.integers(1, 2)))
    )
    return Chart(
        "any",
        Axis("x", logs[0]),
        y,
        panels,
        categories=categories,
        own_scale=draw(st.booleans()),
        iso_f1=fixed and not categories,
    )


@given(charts())
def test_any_finite_data_can_be_drawn(chart: Chart) -> None:
    for svg in svgs(chart):
        _, _, width, height = map(float, svg.attrib["viewBox"].split())
        assert (width, height) == (WIDTH, HEIGHT) or chart.categories
        for mark in svg.iter():
            assert mark.tag in TAGS
            places = [float(mark.attrib[name]) for name in PLACES if name in mark.attrib]
            places += [float(part) for part in re.split("[ ,]", mark.attrib.get("points", "")) if part]
            places += [
                float(part)
                for part in re.findall(r"^M(\S+) (\S+?)l", mark.attrib.get("d", ""))[:2]
                for part in part
            ]
            assert all(math.isfinite(place) and -5 <= place <= max(width, height) for place in places)
    table_of(chart)


# ---------------------------------------------------------------- text, and the table

EVIL = '</svg><script>alert(1)</script>" onload=\'x\' style="a" \x1b[31m\u202e'


def test_text_stays_text() -> None:
    series = Series(EVIL, (Point(0, 0.5, (0, 1)),), "method", "dots", EVIL, EVIL)
    chart = Chart(EVIL, Axis(EVIL), Axis(EVIL), (Panel(EVIL, (series,), EVIL),))
    for shown in (chart, replace(chart, categories=(EVIL,))):
        (svg,) = svgs(shown)
        assert {mark.tag for mark in svg.iter()} <= TAGS
        names = {name for mark in svg.iter() for name in mark.attrib}
        assert not names & {"style", "onload", "href"}
        assert svg.attrib["role"] == "img"
        assert svg.attrib["aria-label"].startswith("</svg><script>")
        assert "\x1b" not in str(ElementTree.tostring(svg))
        assert "\u202e" not in "".join(svg.itertext()) + svg.attrib["aria-label"]


def test_the_text_alternative_tells_what_is_seen() -> None:
    points = (Point(1, 0.25), Point(1.5, 0.5), Point(2, 0.75))
    chart = one(
        Series("perce", points), Series("ce", (), "baseline"), Series("x", points[:1], reported="P 2")
    )
    (svg,) = svgs(chart)
    told = svg.attrib["aria-label"]
    assert told.startswith("perce. share over turn. ")
    assert "perce: 0.25 at 1, 0.75 at 2" in told
    assert "ce: no score" in told
    assert "x, reported in P 2: 0.25 at 1" in told


def test_the_table_holds_every_number() -> None:
    series = Series("perce", (Point(1, 0.25, (0.0, 0.5)), Point(2, None)), "method")
    table = table_of(one(series, Series("ce", (Point(2, 0.5),), reported="P 2"), target="fam/write"))
    assert (table.title, table.minor, table.reported) == ("fam/write", True, True)
    assert [column.name for column in table.columns] == ["turn 1", "turn 2"]
    (head, values), (other, others) = table.rows
    assert (head.name, head.detail, other.name, other.reported) == ("perce", "perce", "ce", "P 2")
    assert values == (Value(0.25, (0.0, 0.5), digits=2), Value(None, text="no score", digits=2))
    assert others == ("—", Value(0.5, digits=2))


def test_many_points_are_rows() -> None:
    points = tuple(Point(n / 100, n / 200) for n in range(100))
    table = table_of(one(Series("a", points)))
    assert [column.name for column in table.columns] == ["turn", "share"]
    assert [
        tuple(value.value for value in values if isinstance(value, Value)) for _, values in table.rows
    ] == [(point.x, point.y) for point in points]


@pytest.mark.parametrize(
    ("point", "fields", "said"),
    [
        (Point(math.nan, 1), {}, "not finite"),
        (Point(1, math.inf), {}, "not finite"),
        (Point(1, 1, (0, math.nan)), {}, "not finite"),
        (Point(1, None, (0, 1)), {}, "no value"),
        (Point(1, 1, (2, 1)), {}, "ends before"),
        (Point(2, 1), {"categories": ("a", "b")}, "categories"),
        (Point(0, 1), {"x": Axis("x", log=True)}, "x 0 on a log"),
        (Point(1, 1, (0, 2)), {"y": Axis("y", log=True)}, "y 0 on a log"),
    ],
)
def test_what_cannot_be_drawn_is_refused(point: Point, fields: dict[str, Any], said: str) -> None:
    panels = (Panel("perce", (Series("ce", (point,)),)),)
    with pytest.raises(ValueError, match=rf"panel 'perce', series 'ce': .*{said}"):
        replace(one(), **fields, panels=panels)
