"""Dialogue metrics by turn: curves, what the tests say of each, and a judge that gives everyone the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from perbench.contracts.chart import Chart, Empty, Panel
from perbench.contracts.metric import mean_metric
from perbench.contracts.section import Table, Value
from perbench.site.load import load
from perbench.site.view import ShownSection, build_view
from perbench.store import Labels, Metric, Scores, TurnValue

if TYPE_CHECKING:
    from tests.site.conftest import Bench

USERS = ("ada", "bo", "cy")


def talk(
    bench: Bench,
    *turns: Sequence[float | None],
    trainer: str | None = None,
    seed: int = 0,
    metric: str = "rating",
    **fields: Any,
) -> None:
    """An evaluation of three dialogues, one per user, with a score for each at each turn."""
    by_turn, values = [], [value for scores in turns for value in scores]
    for turn, scores in enumerate(turns, 1):
        found = mean_metric(scores, USERS, metric)
        by_turn.append(TurnValue(turn=turn, value=found.value, ci=found.ci, n=found.n))
    users = USERS * len(turns)
    whole = mean_metric(values, users, f"{metric}|x").model_copy(update={"by_turn": by_turn})
    ir = Metric(value=0.5, n=3, signature=f"ir|line|{metric}|x")
    ids = [f"{user}#{turn}" for turn in range(1, len(turns) + 1) for user in USERS]
    labels = Labels(
        model="tiny", trainer=trainer, source=trainer and "fam/read", target="fam/talk", seed=seed
    )
    bench.cell(
        "eval",
        labels,
        Scores(ids=ids, clusters=list(users), scores={metric: values}),
        **{"headline": metric, "metrics": {metric: whole, "ir": ir}, **fields},
    )


def dialogue(bench: Bench) -> ShownSection:
    return next(one for one in build_view(load([bench.path])).sections if one.name == "dialogue")


def panel(bench: Bench) -> Panel:
    chart, table = dialogue(bench).blocks
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    (found,) = chart.panels
    return found


def compared(bench: Bench, **fields: Any) -> None:
    """At turn 1 perce − ce is 1.1, 1.0, 0.9: t = 1/(0.1/√3) = 17.3 at 2 degrees of freedom, p = 0.0033, twice
    that after Holm over two turns. At turn 2 it is 0.5, −0.5, 0: p = 1."""
    talk(bench, (2, 2, 2), (3, 3, 3.5), trainer="ce", **fields)
    talk(bench, (3.1, 3.0, 2.9), (3.5, 2.5, 3.5), trainer="perce", **fields)


@pytest.mark.parametrize(
    ("better", "aside", "verdict"),
    [
        ({}, "ahead of ce at turn 1", "In dialogue, perce is ahead of ce at some turn in 1 of 1 comparison."),
        (
            {"rating": "lower"},
            "behind ce at turn 1",
            "In dialogue, perce is behind ce at some turn in 1 of 1 comparison.",
        ),
    ],
)
def test_a_panel_says_where_a_corrected_test_tells_its_method_from_the_baseline(
    bench: Bench, better: dict[str, str], aside: str, verdict: str
) -> None:
    compared(bench, better=better)
    found = panel(bench)
    assert (found.title, found.column, found.aside, found.significant) == (
        *("perce", "trained on fam/read"),
        *(aside, True),
    )
    assert [(one.name, one.role, one.label) for one in found.series] == [
        ("ce", "baseline", "3.17"),
        ("perce", "method", "3.17"),
    ]
    assert [(point.x, point.y) for point in found.series[1].points] == [(1, 3.0), (2, pytest.approx(9.5 / 3))]
    said, seeds = dialogue(bench).verdict
    assert said == verdict
    assert seeds.startswith("Both tests rest on 1 seed")


def test_what_no_test_tells_apart_is_said_to_be_open(bench: Bench) -> None:
    talk(bench, (2, 3, 4), (3, 3, 3), trainer="ce")
    talk(bench, (4, 3, 2), (3, 3, 4), trainer="perce")
    assert (panel(bench).aside, panel(bench).significant) == ("cannot be told from ce", False)
    assert dialogue(bench).verdict[0] == "In dialogue, no method can be told from ce at any turn."


@pytest.mark.parametrize(("turns", "told"), [(1, True), (2, False)])
def test_tests_are_corrected_over_all_turns(bench: Bench, turns: int, told: bool) -> None:
    """Differences 1.0, 1.5, 0.8 have t = 1.1/(0.361/√3) = 5.28, p = 0.034; doubled, 0.068."""
    more: list[Sequence[float]] = [(3, 3, 3)][: turns - 1]
    talk(bench, (2, 2, 2), *more, trainer="ce")
    talk(bench, (3.0, 3.5, 2.8), *[(3, 3.1, 2.9)][: turns - 1], trainer="perce")
    assert panel(bench).significant == told


def test_neither_side_is_ahead_where_neither_is_better(bench: Bench) -> None:
    compared(bench, better={"rating": None})
    assert not panel(bench).significant
    assert dialogue(bench).verdict == ()


def test_two_users_have_no_test(bench: Bench) -> None:
    talk(bench, (2, 3, None), trainer="ce")
    talk(bench, (4, 4, None), trainer="perce")
    assert panel(bench).aside == "not tested against ce"
    assert "too few users" in dialogue(bench).verdict[0]


def test_bands_are_over_users_and_seeds(bench: Bench) -> None:
    """By seed the means are 2 and 3: V_s = 0.5/2 = 0.25. Of the users, averaged over seeds, 1.5, 2.5 and 3.5:
    V_u = 1/3. V = 0.5833, df = 0.5833²/(0.3333²/2 + 0.25²/1) = 2.88, t = 3.263 (interpolated by scipy)."""
    from scipy.special import stdtrit

    talk(bench, (1, 2, 3), trainer="ce", seed=0)
    talk(bench, (2, 3, 4), trainer="ce", seed=1)
    (series,) = panel(bench).series
    variance = 1 / 3 + 0.25
    half = stdtrit(variance**2 / ((1 / 3) ** 2 / 2 + 0.25**2), 0.975) * variance**0.5
    assert series.points[0].y == 2.5
    assert series.points[0].ci == pytest.approx((2.5 - half, 2.5 + half))
    table = dialogue(bench).blocks[1]
    assert isinstance(table, Table)
    assert [column.name for column in table.columns] == ["mean", "ir", "turn 1"]
    mean, _, first = table.rows[0][1]
    assert isinstance(mean, Value)
    assert isinstance(first, Value)
    assert mean.ci == first.ci == series.points[0].ci


def test_a_constant_judge_has_a_box_in_place_of_its_table(bench: Bench) -> None:
    notes = ["rating: the judge tiny is uncalibrated", "of both"]
    talk(bench, (1, 1, 1), (1, None, 1), trainer="ce", notes=notes)
    talk(bench, (1, 1, 1), (1, 1, 1), trainer="perce", notes=notes)
    found = dialogue(bench)
    (box,) = found.blocks
    assert isinstance(box, Empty)
    assert box.caption == "fam/talk: rating carries no information"
    assert box.reason.startswith("All 11 scores are 1, ")
    assert "rating, ir are left out" in box.reason
    assert "the judge tiny is uncalibrated" in box.reason
    assert "of both" not in box.reason
    assert found.verdict == (
        "In dialogue, rating on fam/talk carries no information: every score is the same.",
    )


def test_a_turn_without_scores_breaks_the_curve(bench: Bench) -> None:
    talk(bench, (1, 2, 3), (None, None, None), (2, 3, 4), trainer="ce")
    (series,) = panel(bench).series
    assert [point.y for point in series.points] == [2, None, 3]
