"""What tables draw: groups and their outlines, shades, bars on a scale, and the card of a cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perbench.contracts.results import Flag
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.site import draw
from perbench.site.format import FIGURE, padded
from perbench.stats.paired import Estimate
from perbench.store import CellRecord, Labels, Metric

GAIN = Estimate(0.25, n=6, missing=0, users=3, ci=(0.05, 0.45), p=0.02, seeds=1, adjusted=0.04)
BASE = Value(0.5, versus="baseline")
PLAIN = Value(0.5)


def gained(value: float, *, remains: bool = True, **fields: Any) -> Value:
    gain = replace(GAIN, value=value, adjusted=0.04 if remains else 0.4)
    return Value(0.5, versus="gain", gain=gain, **fields)


def table(
    *rows: tuple[RowHead, tuple[Value | str, ...]], metrics: tuple[str, ...] = ("m",), **fields: Any
) -> Table:
    columns = tuple(ColumnHead(f"t{place}", metric=metric) for place, metric in enumerate(metrics))
    return Table("Scores", "trained", columns, rows, **fields)


def head(name: str, source: str | None = "s", group: tuple[str, ...] = ("m", "s"), **fields: Any) -> RowHead:
    return RowHead(name, trained_on=source, model="m", group=group, **fields)


# ---------------------------------------------------------------- groups


def test_rows_of_one_group_lie_together_under_their_model_and_source() -> None:
    other = {"model": "n", "model_label": "old"}
    found = draw.grouped(
        table(
            (head("base model", "", ("m", "")), (PLAIN,)),
            (head("ce"), (BASE,)),
            (head("perce"), (gained(0.1),)),
            (replace(head("base model", "", ("n", "")), **other), (PLAIN,)),
            (replace(head("ce", group=("n", "s")), **other), (PLAIN,)),
        )
    )
    assert [(group.model, group.source) for group in found] == [
        *(("m", ""), ("", "s"), ("n (old)", ""), ("", "s"))
    ]
    assert [[line.head.name for line in group.lines] for group in found] == [
        *(["base model"], ["ce", "perce"], ["base model"], ["ce"])
    ]
    assert [line.kind for group in found for line in group.lines] == [
        *("base", "baseline", "method", "base", "method")
    ]
    assert [line.first for group in found for line in group.lines] == [True, True, False, True, True]


def test_a_baseline_that_is_also_compared_is_a_method() -> None:
    """Such as the baseline with other settings, against its first."""
    (group,) = draw.grouped(table((head("ce"), (BASE, gained(0.1))), metrics=("m", "m")))
    assert group.lines[0].kind == "method"


@pytest.mark.parametrize(
    ("variations", "common"),
    [(("lr=1", "lr=1"), "lr=1"), (("lr=1", "lr=2"), ""), (("", ""), ""), (("lr=1",), "")],
)
def test_a_variation_of_all_rows_is_said_once(variations: tuple[str, ...], common: str) -> None:
    rows = [(head(f"t{place}", variation=text), (PLAIN,)) for place, text in enumerate(variations)]
    assert [group.training for group in draw.grouped(table(*rows))] == [common]


OWN = Value(0.5, own=True)


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        ((OWN,), ["own own1 own2"]),
        ((OWN, OWN, OWN), ["own own1", "own", "own own2"]),
        ((PLAIN, OWN), ["", "own own1 own2"]),
        ((OWN, "no record", OWN), ["own own1 own2", "", "own own1 own2"]),
    ],
)
def test_one_outline_goes_around_the_cells_of_the_own_task(
    column: tuple[Value | str, ...], classes: list[str]
) -> None:
    rows = [(head(f"t{place}"), (PLAIN, value)) for place, value in enumerate(column)]
    (group,) = draw.grouped(table(*rows, metrics=("m", "m")))
    assert [line.own for line in group.lines] == [("", one) for one in classes]


def test_an_outline_ends_with_its_group() -> None:
    found = draw.grouped(table((head("a"), (OWN,)), (head("b", "u", ("m", "u")), (OWN,))))
    assert [group.lines[0].own for group in found] == [("own own1 own2",)] * 2


def test_columns_of_one_metric_share_a_head_with_its_direction() -> None:
    low = Value(0.1, better="lower")
    rows = ((head("a"), ("no record", PLAIN, low, PLAIN)),)
    assert draw.families(table(*rows, metrics=("m", "m", "loss", "m"))) == [
        ("m ↑", 2),
        ("loss ↓", 1),
        ("m ↑", 1),
    ]
    assert draw.families(table((head("a"), (PLAIN, low)), metrics=("m", "m"))) == [("m", 2)]
    assert draw.families(table((head("a"), ("failed",)))) == [("m", 1)]
    assert draw.arrow([replace(PLAIN, better=None)]) == ""


# ---------------------------------------------------------------- shades and bars


@pytest.mark.parametrize(
    ("value", "cls"),
    [
        (gained(1.0), "b4"),
        (gained(0.76), "b4"),
        (gained(0.75), "b3"),
        (gained(0.25), "b1"),
        (gained(0.001), "b1"),
        (gained(-0.26), "o2"),
        (gained(-1.0, better="lower"), "b4"),
        (gained(0.6, better="lower"), "o3"),
        (gained(1.0, better=None), "ns"),
        (gained(1.0, remains=False), "ns"),
        (gained(0.0), "ns"),
        (Value(0.5, gain=replace(GAIN, adjusted=None)), "ns"),
        (BASE, ""),
        (Value(text="failed"), ""),
    ],
)
def test_only_what_a_corrected_test_separates_has_colour(value: Value, cls: str) -> None:
    """The step is ⌈4 · |gain| / largest⌉, here of 1."""
    assert draw.shade(value, 1.0) == cls


def test_the_largest_gain_is_of_the_column_whatever_its_sign() -> None:
    rows = ((head("a"), (gained(0.1), gained(-0.5))), (head("b"), (gained(-0.3), "no record")))
    assert draw.largest_gains(table(*rows, metrics=("m", "m", "m")[:2])) == [0.3, 0.5]
    assert draw.largest_gains(table((head("a"), (PLAIN,)))) == [0.0]
    assert draw.shade(gained(0.1), 0.0) == "ns"


def test_a_bar_lies_on_the_scale_of_its_column() -> None:
    """84 wide with 4 free on each side: 76 for the scale from −0.15 to 0.45, whose 0 is a quarter along."""
    scale = draw.gain_scales(table((head("a"), (gained(0.25),)), (head("b"), (lower(),))))[0]
    assert scale == (-0.15, 0.45)
    assert draw.bar(0.25, (0.05, 0.45), scale, 84) == draw.Bar(84, 29.3, 80.0, 54.7, 23.0)
    assert draw.bar(0.25, (-0.15, 0.0), scale, 84) == draw.Bar(84, 4.0, 23.0, 54.7, 23.0)


def lower() -> Value:
    return Value(0.4, versus="gain", gain=replace(GAIN, ci=(-0.15, 0.1)))


def test_scales_of_gains_hold_zero_and_those_of_values_need_not() -> None:
    rows = ((head("a"), (replace(gained(0.25), ci=(0.4, 0.6)),)), (head("b"), (Value(0.7, ci=(0.5, 0.9)),)))
    assert draw.gain_scales(table(*rows)) == [(0.0, 0.45)]
    assert draw.value_scales(table(*rows)) == [(0.4, 0.9)]
    bar = draw.bar(0.5, (0.4, 0.6), (0.4, 0.9), 84)
    assert bar is not None
    assert bar.zero is None


@pytest.mark.parametrize(
    ("at", "ci", "scale"),
    [(None, (0.1, 0.2), (0, 1)), (0.1, None, (0, 1)), (0.1, (0.1, 0.2), None), (0.1, (0.1, 0.1), (0, 1))],
)
def test_what_would_look_certain_has_no_bar(at: Any, ci: Any, scale: Any) -> None:
    assert draw.bar(at, ci, scale, 84) is None


def test_no_interval_no_scale() -> None:
    none = replace(GAIN, ci=None)
    rows = ((head("a"), (replace(gained(0.1), gain=none), replace(PLAIN, ci=(0.5, 0.5)))),)
    assert draw.gain_scales(table(*rows, metrics=("m", "m"))) == [None, None]
    assert draw.value_scales(table(*rows, metrics=("m", "m"))) == [None, None]


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=5), finite, st.floats(20, 500))
def test_a_bar_never_leaves_its_drawing(ends: list[tuple[float, float]], at: float, width: float) -> None:
    cis = [(min(pair), max(pair)) for pair in ends]
    rows = [(head("a"), (Value(at, ci=ci),)) for ci in cis]
    (scale,) = draw.value_scales(table(*rows))
    for ci in cis:
        bar = draw.bar(at, ci, scale, width)
        if bar is not None:
            assert draw.MARGIN - 0.1 <= bar.low <= bar.high <= width - draw.MARGIN + 0.1
            assert 0 < bar.at < width
            assert bar.zero is None or 0 < bar.zero < width


@given(st.lists(st.floats(-2000, 2000), min_size=1, max_size=6), st.integers(0, 3))
@example([9.996, 1.0], 2)
@example([-0.04, 1.0], 1)
def test_decimal_points_are_aligned(values: list[float], digits: int) -> None:
    column = [Value(v, digits=digits, gain=replace(GAIN, value=v)) for v in values]
    ((score, gain),) = draw.widths(table(*[(head("a"), (value,)) for value in column]))
    points = {len(padded(abs(v), digits, width=score)) for v in values}
    assert len(points) == 1
    signed = [padded(v, digits, signed=True, width=gain) for v in values]
    assert len({len(text) for text in signed}) == 1
    assert all(text[0] in f"+−{FIGURE}" for text in signed)


# ---------------------------------------------------------------- the card


def record(seed: int, value: float | None = 0.5, status: str = "done") -> CellRecord:
    return CellRecord.model_construct(
        status=status,
        labels=Labels(model="m", seed=seed),
        metrics={"m": Metric(value=value, n=3, signature="m")},
    )


def card(value: Value) -> dict[str, str]:
    found = draw.card(value, "ce")
    assert len({name for name, _ in found if name != "note"}) == len([n for n, _ in found if n != "note"])
    return dict(found)


def test_a_card_says_score_gain_test_rank_and_what_they_are_from() -> None:
    value = gained(0.25, ci=(0.3, 0.7), rank=(1, 3), n=12, missing=2, records=(record(0), record(1)))
    value = replace(value, gain=replace(GAIN, missing=1, seeds=2), flags=(Flag("5 cut", "cut"),))
    assert draw.card(value, "ce") == [
        ("score", "0.500 (0.300 to 0.700)"),
        ("gain", "+0.250 (+0.050 to +0.450)"),
        ("test", "better than ce, p 0.040 corrected"),
        ("rank", "1–3"),
        ("from", "12 answers, 3 users, 2 seeds, 2 without a score, 1 pair left out"),
        ("note", "5 cut"),
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (gained(0.25), "better than ce, p 0.040 corrected"),
        (gained(-0.25), "worse than ce, p 0.040 corrected"),
        (gained(-0.25, better="lower"), "better than ce, p 0.040 corrected"),
        (gained(0.25, better=None), "differs from ce, p 0.040 corrected"),
        (
            gained(0.25, remains=False),
            "not separable from ce, p 0.400 corrected; alone its interval excludes 0",
        ),
        (Value(0.5, gain=replace(GAIN, p=0.2, adjusted=0.4)), "not separable from ce, p 0.400 corrected"),
        (Value(0.5, gain=replace(GAIN, p=1e-9, adjusted=1e-6)), "better than ce, p < 0.001 corrected"),
        (Value(0.5, gain=replace(GAIN, ci=None, p=None, adjusted=None)), "no test"),
    ],
)
def test_a_test_is_said_with_no_more_certainty_than_it_gives(value: Value, said: str) -> None:
    assert card(value)["test"] == said


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (Value(0.5, ci_aside="few users", ci=(0.1, 0.9)), "score", "0.500 (0.100 to 0.900), few users"),
        (Value(0.5, ci_aside="2 users: no interval"), "score", "0.500, 2 users: no interval"),
        (Value(text="failed", aside="CellError"), "score", "failed: CellError"),
        (Value(12.0, text="12 s"), "score", "12 s"),
        (gained(0.25, digits=1), "gain", "+0.2 (+0.1 to +0.5)"),
        (Value(0.5, gain=replace(GAIN, ci=None)), "gain", "+0.250, no interval"),
        (Value(0.5, versus="gain", gain=replace(GAIN, value=None)), "gain", "no shared samples"),
        (Value(0.5, rank=(2, 2)), "rank", "2"),
        (Value(0.5, records=(record(0), record(1, status="failed"))), "from", "1 seed"),
    ],
)
def test_details(value: Value, name: str, text: str) -> None:
    assert card(value)[name] == text


@pytest.mark.parametrize("value", [BASE, Value(text="no record"), Value(0.5)])
def test_what_is_not_compared_has_no_gain(value: Value) -> None:
    assert not {"gain", "test", "rank", "from"} & card(value).keys()


# ---------------------------------------------------------------- flags, notes, filters


def test_a_flag_of_most_values_is_said_once_and_a_rare_one_at_its_value() -> None:
    cut, few = Flag("20% cut", "cut", "share cut"), Flag("few", "few", "few users")
    values = [
        Value(0.5, flags=(cut, few)),
        Value(0.5, flags=(cut,)),
        Value(0.5),
        Value(text="failed", flags=(few,)),
    ]
    found = table(*[(head(f"t{place}"), (value,)) for place, value in enumerate(values)])
    assert draw.common_flags(found) == {"share cut"}
    assert draw.rare(values[0], {"share cut"}) == [few]
    assert draw.common_flags(table((head("a"), (values[0],)))) == set()


def test_notes_of_columns_are_said_once_with_their_columns() -> None:
    columns = (
        ColumnHead("a", notes=("x", "y")),
        ColumnHead("b", apart="8 users", notes=("x",)),
        ColumnHead("c"),
    )
    found = Table("Scores", "trained", columns, ())
    assert draw.caveats(found) == [("a, b · 8 users", "x"), ("a", "y")]


def test_filters_are_of_what_differs() -> None:
    rows = [(head("base model", ""), (PLAIN,)), (head("ce"), (PLAIN,)), (head("ce", "u"), (PLAIN,))]
    assert draw.choices(table(*rows)) == [
        ("trainer", "Trainer", ["base model", "ce"]),
        ("source", "Trained on", ["s", "u"]),
    ]
    assert draw.choices(table(rows[0])) == []


@pytest.mark.parametrize(
    ("first", "label"), [("trained", "Trainer"), ("identifier", "Identifier"), ("model", "Method")]
)
def test_no_two_filters_have_one_label(first: str, label: str) -> None:
    rows = [(replace(head(name, source), model=name), (PLAIN,)) for name, source in (("a", "s"), ("b", "u"))]
    found = draw.choices(replace(table(*rows), first=first))
    assert [one for _, one, _ in found] == ["Model", label, "Trained on"]


def test_a_rows_filter_attributes_are_escaped() -> None:
    evil = '"><script>\u202e'
    text = str(draw.filtered(RowHead(evil, trained_on=evil, model=evil)))
    assert "<" not in text
    assert "\u202e" not in text
    assert text.count('"') == 6
    assert str(draw.filtered(head("ce"), row=False)) == 'data-model="m" data-source="s"'
    assert str(draw.filtered(RowHead("ce", trained_on=""))) == 'data-trainer="ce"'


def test_scores_of_single_seeds() -> None:
    column = ColumnHead("t", metric="m")
    value = Value(0.5, records=(record(0, 0.25), record(1, None), record(2, -0.75)))
    assert draw.by_seed(value, column) == "0:0.250 2:−0.750"
    assert draw.by_seed(replace(value, records=value.records[:1]), column) == ""
    assert draw.by_seed(value, ColumnHead("t", metric="other")) == ""
    assert draw.seeds(
        table((head("a"), (value,)), (head("b"), (Value(text="failed", records=(record(7),)),)))
    ) == [*(0, 1, 2)]


def test_a_row_is_separable_by_any_of_its_gains() -> None:
    (group,) = draw.grouped(
        table(
            (head("a"), (gained(0.1, remains=False), "no record", gained(0.1))),
            (head("b"), (gained(0.1, remains=False), BASE, "failed")),
            metrics=("m", "m", "m"),
        )
    )
    assert [draw.separable(line) for line in group.lines] == [True, False]
