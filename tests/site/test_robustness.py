"""How scores depend on numbers that a matrix varies: curves, tables over two numbers, and papers beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from perbench.contracts.chart import Chart, Empty
from perbench.contracts.section import Table, Value
from perbench.site.load import load
from perbench.site.view import ShownSection, build_view
from tests.site.browsing import opened
from tests.site.pages import site_of
from tests.site.test_accessible import violations

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.site.conftest import Bench

LOW, HIGH = (0.1, 0.2, 0.3), (0.61, 0.70, 0.79)
"""HIGH − LOW is 0.51, 0.50, 0.49: t = 0.5/(0.01/√3) = 86.6 at 2 degrees of freedom, p = 0.000133."""


def scored(bench: Bench, values: Sequence[float] | None, trainer: str = "perce", **fields: Any) -> None:
    labels = {key: fields.pop(key) for key in ("training", "trainer_params") if key in fields}
    bench.evaluate(values, trainer=trainer, **{"source": "fam/write", **fields}, labels=labels)


def rate(value: Any) -> dict[str, Mapping[str, Any]]:
    return {"training": {"learning_rate": value}}


def robustness(bench: Bench) -> ShownSection:
    return next(one for one in build_view(load([bench.path])).sections if one.name == "robustness")


def charts(bench: Bench) -> list[Chart]:
    return [block for block in robustness(bench).blocks if isinstance(block, Chart)]


def test_the_mean_and_the_populations_variance_over_the_values_are_those_of_perces_table_2(
    bench: Bench,
) -> None:
    printed = {
        "perce": (0.3247, 0.3469, 0.3561, 0.3619, 0.3585),
        "ce": (0.3560, 0.3728, 0.3687, 0.2339, 0.2261),
    }
    for trainer, found in printed.items():
        for value, score in zip((2e-6, 5e-6, 8e-6, 2e-5, 5e-5), found, strict=True):
            scored(bench, [score] * 3, trainer, **rate(value))
    (table,) = robustness(bench).tables
    assert [column.name for column in table.columns[-2:]] == ["mean", "variance"]
    told = {head.name: [one.text or f"{one.value:.4f}" for one in row[-2:]] for head, row in table.rows}
    assert told["perce"] == ["0.3496", "1.8"]  # 1.800 in the table
    assert told["ce"] == ["0.3115", "44.65"]


def test_a_curve_per_method_against_the_baseline(bench: Bench) -> None:
    for value, ce, perce in ((1e-5, LOW, HIGH), (1e-4, LOW, LOW)):
        scored(bench, ce, "ce", **rate(value))
        scored(bench, perce, **rate(value))
    (chart,) = charts(bench)
    assert (chart.x.label, chart.x.log, chart.x.ticks) == ("learning_rate", True, (1e-5, 1e-4))
    assert (chart.y.label, chart.tabled, chart.own_scale) == ("ROUGE-L", True, True)
    (panel,) = chart.panels
    assert (panel.title, panel.significant) == ("fam/write", True)
    assert panel.aside == "perce varies by 0.500 (told apart), ce varies by 0.000 (not tested)"
    ce, perce = panel.series
    assert (ce.role, perce.role, perce.label) == ("baseline", "method", "perce")
    assert [(point.x, point.y) for point in perce.points] == [
        (1e-5, pytest.approx(0.7)),
        (1e-4, pytest.approx(0.2)),
    ]
    assert perce.points[0].ci is not None
    verdict = robustness(bench).verdict
    assert verdict[0].startswith(
        "The score of perce depends on learning_rate in 1 of 1 curve (fam/write: 0.7"
    )
    assert "ce" in verdict[1]
    assert "The only test rests on 1 seed" in verdict[2]


def test_the_table_beside_holds_all_lines(bench: Bench) -> None:
    for value in (1, 2):
        scored(bench, LOW, "ce", **rate(value))
        scored(bench, HIGH if value == 1 else None, **rate(value))
    scored(bench, LOW, "ce", **rate(3))
    table = robustness(bench).blocks[-1]
    assert isinstance(table, Table)
    assert (table.title, table.caption) == ("fam/write", "ROUGE-L by learning_rate")
    rates = [f"learning_rate {value}" for value in (1, 2, 3)]
    assert [column.name for column in table.columns] == [*rates, "mean", "variance"]
    # perce has one score, which makes no curve.
    assert [(head.name, head.trained_on) for head, _ in table.rows] == [("ce", "fam/write")]


def test_what_no_test_tells_apart_is_said_to_be_open(bench: Bench) -> None:
    """Differences 0.1, −0.1 and 0.05 are of no side."""
    scored(bench, LOW, **rate(1))
    scored(bench, (0.2, 0.1, 0.35), **rate(2))
    (panel,) = charts(bench)[0].panels
    assert (panel.aside, panel.significant) == ("perce varies by 0.017", False)
    assert not charts(bench)[0].x.log
    said = robustness(bench).verdict[0]
    assert said == "No two values of learning_rate can be told apart for perce, in the only curve."


@pytest.mark.parametrize(("methods", "told"), [(1, True), (2, False)])
def test_tests_are_corrected_over_all_curves(bench: Bench, methods: int, told: bool) -> None:
    """Differences 0.10, 0.15, 0.08 have t = 5.28 at 2 degrees of freedom, p = 0.034; doubled, 0.068."""
    for trainer, high in (("perce", (0.2, 0.35, 0.38)), ("nextquill", (0.1, 0.21, 0.29)))[:methods]:
        scored(bench, LOW, trainer, **rate(1))
        scored(bench, high, trainer, **rate(2))
    (panel,) = [one for one in charts(bench)[0].panels if one.series[-1].name == "perce"]
    assert panel.significant == told


def test_curves_are_of_models_that_differ_in_nothing_else(bench: Bench) -> None:
    for value in (1, 2):
        for source in ("fam/write", "fam/read"):
            for method in ("lora", "full"):
                training = {"learning_rate": value, "method": method}
                scored(bench, LOW, source=source, training=training)
                scored(bench, LOW, "nextquill", source=source, training=training)
    own, other = charts(bench)
    found = [(panel.title, panel.column) for panel in own.panels]
    assert found == [
        (f"{trainer} method={method}", "fam/write")
        for method in ("full", "lora")
        for trainer in ("nextquill", "perce")
    ]
    assert {panel.column for panel in other.panels} == {"fam/read → fam/write"}
    assert all(len(panel.series[0].points) == 2 for panel in (*own.panels, *other.panels))


def test_a_trainers_own_key_of_training_is_the_same_number(bench: Bench) -> None:
    for value in (1, 2):
        scored(bench, LOW, trainer_params={"training.epochs": value})
    assert [chart.x.label for chart in charts(bench)] == ["epochs"]


def test_a_failed_cell_breaks_the_curve(bench: Bench) -> None:
    for value, values in ((1, LOW), (2, None), (3, HIGH)):
        scored(bench, values, **rate(value))
    (series,) = charts(bench)[0].panels[0].series
    assert [point.y is None for point in series.points] == [False, True, False]
    table = robustness(bench).blocks[-1]
    assert isinstance(table, Table)
    failed = table.rows[0][1][1]
    assert isinstance(failed, Value)
    assert failed.text == "failed"


# ---------------------------------------------------------------- two numbers


def clipped(bench: Bench, at: Mapping[tuple[float, float], Sequence[float]], **fields: Any) -> Table:
    for (low, high), values in at.items():
        scored(bench, values, trainer_params={"clip_min": low, "clip_max": high}, **fields)
    (found,) = robustness(bench).blocks
    assert isinstance(found, Table)
    return found


def test_two_numbers_are_a_table_of_differences_from_the_defaults(bench: Bench) -> None:
    """perce's defaults are 0.8 and 5. Three tests: Holm triples the p of 0.000133."""
    table = clipped(bench, {(0.2, 5): LOW, (0.8, 5): HIGH, (0.2, 2): HIGH, (0.8, 2): (0.7, 0.6, 0.8)})
    assert (table.first, [column.name for column in table.columns]) == (
        "clip_min",
        ["clip_max 2", "clip_max 5"],
    )
    ((_, (_, worse)), (_, (_, main))) = table.rows
    assert isinstance(worse, Value)
    assert isinstance(main, Value)
    assert (main.own, main.versus, main.gain) == (True, "baseline", None)
    assert (worse.verdict, worse.gain is not None and worse.gain.remains) == ("down", True)
    assert worse.gain is not None
    assert worse.gain.value == pytest.approx(-0.5)
    assert worse.gain.p == pytest.approx(0.000133, rel=0.01)
    assert worse.gain.adjusted == pytest.approx(
        2 * 0.000133, rel=0.01
    )  # (0.2, 2) equals the defaults: no test
    said = robustness(bench).verdict[0]
    assert said.startswith("Of 2 settings of clip_min and clip_max, perce is better than at its defaults")
    assert said.endswith("(clip_min 0.8, clip_max 5) in none and worse in 1.")


def test_without_the_defaults_nothing_is_compared(bench: Bench) -> None:
    table = clipped(bench, {(0.2, 5): LOW, (0.5, 2): HIGH})
    values = [value for _, values in table.rows for value in values if isinstance(value, Value)]
    assert [value.gain for value in values] == [None, None]
    assert [value for _, values in table.rows for value in values if value == "—"] == ["—", "—"]
    assert "its defaults were not run" in robustness(bench).verdict[0]


def test_a_table_is_drawn_with_its_numbers_and_tests(bench: Bench, tmp_path: Path) -> None:
    clipped(bench, {(0.2, 5): LOW, (0.8, 5): HIGH, (0.2, 2): LOW, (0.8, 2): HIGH})
    html = site_of(bench, out=tmp_path / "site").sources["robustness"]
    assert 'class="main">0.700' in html
    assert 'class="o4">0.200<span class="vh">, −0.500' in html
    assert "worse than clip_min 0.8, clip_max 5" in html


def test_axe_finds_no_violation_in_curves_and_tables(browser: Browser, bench: Bench, tmp_path: Path) -> None:
    for value in (2e-6, 5e-6):
        scored(bench, LOW, "ce", **PAG, **rate(value))
        scored(bench, HIGH, **PAG, **rate(value))
    for low, high in ((0.2, 2.0), (0.8, 5.0)):
        scored(bench, LOW, **{**PAG, "model": "tiny"}, trainer_params={"clip_min": low, "clip_max": high})
    with opened(browser, site_of(bench, out=tmp_path / "site").folder, "robustness.html") as shown:
        assert shown.locator("svg[role=img]").count()
        assert shown.locator("table.heat").count()
        assert violations(shown) == {}


# ---------------------------------------------------------------- papers


PAG = {"model": "Qwen/Qwen3-4B", "source": "longlamp/pag", "target": "longlamp/pag"}


def test_a_papers_values_are_hollow_marks_beside_the_same_quantity(bench: Bench) -> None:
    """PerCE, Table 2 (a): PAG at 2e-6 and 5e-6."""
    for value in (2e-6, 5e-6):
        scored(bench, LOW, **PAG, **rate(value))
    (panel,) = charts(bench)[0].panels
    measured, reported = panel.series
    assert (measured.reported, reported.reported, reported.role) == ("", "PerCE Table 2", "method")
    assert [(point.x, point.y) for point in reported.points][:2] == [(2e-6, 0.3247), (5e-6, 0.3469)]
    table = robustness(bench).blocks[-1]
    assert isinstance(table, Table)
    head, values = table.rows[1]
    assert head.reported == "PerCE Table 2"
    assert [value.text for value in values if isinstance(value, Value)] == ["0.3247", "0.3469"]


@pytest.mark.parametrize(
    "other",
    [{"model": "tiny"}, {"source": "longlamp/prw"}, {"headline": "meteor"}, {"trainer": "nextquill"}],
)
def test_they_are_left_out_beside_anything_else(bench: Bench, other: dict[str, str]) -> None:
    for value in (2e-6, 5e-6):
        scored(bench, LOW, **{**PAG, **other}, **rate(value))
    assert [one.reported for one in charts(bench)[0].panels[0].series] == [""]


def test_a_papers_table_stands_below_the_measured_one(bench: Bench) -> None:
    """PerCE, Table 3 (a): Clip Min 0.2 and 0.8 at Clip Max 2 and 5."""
    cells = {(low, high): LOW for low in (0.2, 0.8) for high in (2.0, 5.0)}
    found = [
        (head.name, head.reported, [value.text for value in values if isinstance(value, Value)])
        for head, values in clipped(bench, cells, **PAG).rows[2:]
    ]
    assert found == [
        ("0.2", "PerCE Table 3", ["0.3247", "0.3469"]),
        ("0.8", "PerCE Table 3", ["0.3540", "0.3619"]),
    ]


# ---------------------------------------------------------------- nothing varied


def test_a_run_that_varies_no_number_has_the_command_that_does(bench: Bench) -> None:
    scored(bench, LOW, training={"method": "lora"})
    scored(bench, LOW, training={"method": "full"})
    (box,) = robustness(bench).blocks
    assert isinstance(box, Empty)
    assert box.command == "perbench run --matrix perce_lr_robustness"
    assert robustness(bench).verdict == ()


def test_without_trained_models_there_is_no_page(bench: Bench) -> None:
    bench.evaluate(LOW)
    assert "robustness" not in [one.name for one in build_view(load([bench.path])).sections]
