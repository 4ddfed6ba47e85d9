"""The verdict, sentence by sentence, of matrices written by hand."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Literal

import pytest

from perbench.contracts.results import Matrix, Mean, ModelRow, Outcome, TargetColumn
from perbench.site.format import any_of, part_of
from perbench.site.load import load
from perbench.site.matrix import matrix_of
from perbench.site.verdict import Verdict, verdict_of
from perbench.site.view import build_view
from perbench.stats.paired import Estimate
from perbench.stats.spread import Spread

if TYPE_CHECKING:
    from tests.site.conftest import Bench

MEAN = Mean(0.5, None, 10, 0)
BASE = Outcome("done", mean=MEAN, versus="baseline")
FAILED, ABSENT, UNSCORED = (
    Outcome("failed"),
    Outcome("no record"),
    Outcome("done", mean=Mean(None, None, 0, 9)),
)
UNTESTED = Outcome("done", mean=MEAN, versus="gain", gain=Estimate(0.25, 2, 0, 2, seeds=2))


def row(trainer: str | None, source: str = "s", model: str = "m", variation: str = "") -> ModelRow:
    return ModelRow(
        model, None, trainer, source if trainer else None, variation, "{}", "{}", "", "", variation
    )


def gain(value: float, adjusted: float, *, seeds: int = 2, users: int = 8, variance: float = 1.0) -> Outcome:
    spread = Spread(variance, users - 1)
    found = Estimate(value, 10, 0, users, spread, (-1, 1), adjusted, seeds, adjusted)
    return Outcome("done", mean=MEAN, versus="gain", gain=found)


WON, LOST, OPEN = gain(0.2, 0.01), gain(-0.2, 0.05), gain(0.2, 0.051)


def column(target: str, better: Literal["higher", "lower"] | None = "higher") -> TargetColumn:
    return TargetColumn(target, "", "length" if better is None else "rougeL", better, 3, (), None, None)


def matrix(
    *rows: tuple[ModelRow, list[Outcome]],
    better: Literal["higher", "lower"] | None = "higher",
    baseline: str | None = "ce",
) -> Matrix:
    targets = tuple(column(f"t{i}", better) for i in range(len(rows[0][1])))
    return Matrix(targets, tuple((head, tuple(found)) for head, found in rows), baseline)


def compared(*found: Outcome, better: Literal["higher", "lower"] | None = "higher") -> Verdict:
    """Of one method on as many targets."""
    return verdict_of(matrix((row("ce"), [BASE] * len(found)), (row("perce"), [*found]), better=better))


def counts(found: Verdict) -> dict[str, tuple[int, int, int, int]]:
    return {one.method: (one.won, one.open, one.lost, one.missing) for one in found.tallies}


def test_the_strongest_is_the_answer_and_the_others_are_facts() -> None:
    found = verdict_of(
        matrix(
            (row(None), [BASE] * 3),
            (row("ce"), [BASE] * 3),
            (row("a"), [OPEN, OPEN, OPEN]),
            (row("b"), [OPEN, LOST, OPEN]),
            (row("d"), [WON, WON, OPEN]),
            (row("ce", variation="upper=3"), [WON, LOST, WON]),
        )
    )
    assert found.headline == "d beats ce in 2 of 3 comparisons and loses in none."
    assert found.points == (
        "ce (upper=3) beats ce in 2 of 3 comparisons and loses in 1 (upper=3, s → t1).",
        "b loses to ce in 1 of 3 comparisons (s → t1) and beats it in none.",
        "a cannot be told from ce in any of 3 comparisons.",
    )
    assert counts(found) == {
        "d": (2, 1, 0, 0),
        "ce (upper=3)": (2, 0, 1, 0),
        "a": (0, 3, 0, 0),
        "b": (0, 2, 1, 0),
    }
    assert [one.trainer for one in found.tallies] == ["d", "ce", "a", "b"]
    assert found.tests == 12


def test_many_methods_share_sentences() -> None:
    """At most five facts: the two that differ most have a sentence each, the others share one."""
    rows = [(row("ce"), [BASE] * 3), (row("a"), [WON] * 3), (row("b"), [WON, WON, OPEN])]
    rows += [(row(name), [WON, OPEN, OPEN]) for name in "cd"]
    rows += [(row("e"), [LOST, LOST, OPEN]), (row("f"), [OPEN] * 3), (row("g"), [OPEN] * 3)]
    found = verdict_of(matrix(*rows))
    assert found.headline == "a beats ce in 3 of 3 comparisons and loses in none."
    assert found.points == (
        "b beats ce in 2 of 3 comparisons and loses in none.",
        "e loses to ce in 2 of 3 comparisons and beats it in none.",
        "c and d beat ce in 1 each; f and g cannot be told from it.",
    )
    rows[4] = (row("d"), [LOST, OPEN, OPEN])
    assert verdict_of(matrix(*rows)).points[-1].startswith("c and d differ from ce in 1 each;")
    rows[3:5] = [(row("h"), [LOST, OPEN, OPEN])]
    assert verdict_of(matrix(*rows)).points[-1].startswith("h loses to ce in 1; f and g")
    rows[3:4] = [(row(name), [OPEN] * 3) for name in "cd"]
    alike = verdict_of(matrix(*rows[:3], *rows[6:]))
    assert alike.points[-1] == "f and g cannot be told from ce in any comparison."


def test_the_only_loss_of_the_strongest_has_its_place_named() -> None:
    rows = [(row("ce", source, model), [BASE, BASE]) for model in "mn" for source in "rs"]
    rows += [(row("perce", source, model), [WON, WON]) for model in "mn" for source in "rs"]
    assert verdict_of(matrix(*rows)).points == ()
    rows[-1][1][0] = LOST
    found = verdict_of(matrix(*rows))
    assert found.headline == "perce beats ce in 7 of 8 comparisons and loses in 1."
    assert found.points == ("Its one loss: t0 after training on s (n).",)
    rows[-1][1][0] = replace(LOST, own=True)
    assert verdict_of(matrix(*rows)).points == ("Its one loss: t0, the task it was trained on (n).",)
    rows[-1][1][1] = LOST
    assert verdict_of(matrix(*rows)).points == ()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(WON, "perce beats ce in its only"), (LOST, "No method beats ce in the only comparison")],
)
def test_one_comparison(outcome: Outcome, said: str) -> None:
    assert compared(outcome).headline.startswith(said)


def test_where_none_wins_those_that_lose_are_facts() -> None:
    found = verdict_of(matrix((row("ce"), [BASE] * 2), (row("a"), [LOST, OPEN]), (row("b"), [OPEN, OPEN])))
    assert found.headline == "No method beats ce in any of 4 comparisons."
    assert [line[0] for line in found.points] == ["a", "b"]
    assert "(s → t0)" in found.points[0]


def test_lower_is_better() -> None:
    found = compared(LOST, LOST, better="lower")
    assert found.headline == "perce beats ce in 2 of 2 comparisons and loses in none."


def test_what_has_no_better_side_is_neither_won_nor_lost() -> None:
    found = compared(WON, OPEN, better=None)
    assert found.headline.startswith("length ")
    assert found.headline.endswith("differs from ce in 1 of 2 comparisons.")
    assert counts(found) == {"perce": (0, 0, 0, 0)}
    mixed = matrix((row("ce"), [BASE] * 2), (row("perce"), [WON, OPEN]))
    mixed = replace(mixed, columns=(column("t0", None), column("t1")))
    assert verdict_of(mixed).headline.startswith("No method can be told")
    assert verdict_of(mixed).points[0].startswith("length ")


def test_kinds_of_tasks_are_told_apart() -> None:
    """Two of writing, one of dialogue, one of preference."""
    rows = [(row("ce"), [BASE] * 4), (row("a"), [WON, WON, WON, OPEN]), (row("b"), [OPEN, WON, LOST, OPEN])]
    tasks = ("writing", "writing", "dialogue", "preference")
    made = matrix(*rows)
    made = replace(
        made,
        columns=tuple(
            replace(one, task=task, protocol=task) for one, task in zip(made.columns, tasks, strict=True)
        ),
    )
    (*_, said) = verdict_of(made).points
    assert said == (
        "In writing a (2 of 2) and b (1 of 2) beat ce; in dialogue only a (1 of 1) beats it, b loses in 1 "
        "of 1; in preference no method beats it."
    )


def test_what_the_data_cannot_show_is_said_by_metric() -> None:
    made = matrix((row("ce"), [BASE] * 3), (row("a"), [WON, WON, WON]))
    least = ((0.02, "ROUGE-L", 3), (0.0312, "ROUGE-L", 3), (0.4, "rating, 1 to 5", 2))
    columns = tuple(
        replace(one, detectable=size, metric=metric, digits=digits)
        for one, (size, metric, digits) in zip(made.columns, least, strict=True)
    )
    (*_, said) = verdict_of(replace(made, columns=columns)).points
    assert "below about 0.020 to 0.031 ROUGE-L or 0.40 rating would mostly" in said


def test_missing_cells_are_counted_and_in_no_comparison() -> None:
    found = verdict_of(
        matrix(
            (row("ce"), [BASE, BASE, BASE, BASE, BASE, FAILED]),
            (row("perce"), [WON, FAILED, ABSENT, UNSCORED, UNTESTED, Outcome("done", mean=MEAN)]),
            (row("perce", "other"), [ABSENT] * 5 + [Outcome("done", mean=MEAN)]),
        )
    )
    assert found.headline == "perce beats ce in its only comparison."
    for part in ("1 failed", "6 without a record", "1 without a score", "1 without a test", "2 without ce"):
        assert part in found.notes[-1]
    assert counts(found) == {"perce": (1, 0, 0, 11)}


def test_a_method_without_a_row_beside_the_baseline_misses_its_targets() -> None:
    found = verdict_of(
        matrix(
            (row("ce"), [BASE, BASE]),
            (row("ce", "other"), [BASE, BASE]),
            (row("a"), [WON, OPEN]),
            (row("a", "other"), [WON, OPEN]),
            (row("b", "other"), [OPEN, FAILED]),
        )
    )
    assert counts(found) == {"a": (2, 2, 0, 0), "b": (0, 1, 0, 3)}
    assert found.notes == ("Not compared: 1 failed, 2 without a record.",)


def test_seeds_that_are_not_there_are_counted(bench: Bench) -> None:
    for seed, values in ((0, [0.4, 0.5, 0.9]), (1, None)):
        bench.evaluate([0.1, 0.2, 0.3], trainer="ce", source="s", seed=seed)
        bench.evaluate(values, trainer="perce", source="s", seed=seed)
    found = build_view(load([bench.path])).verdict
    assert any(line.startswith("The only comparison rests on 1 seed") for line in found.points)
    assert "1 value without the seeds that failed." in found.notes


def test_nothing_to_compare() -> None:
    assert verdict_of(Matrix((), (), "ce")) == Verdict()
    assert verdict_of(Matrix((), (), "ce")).lines == []
    found = verdict_of(matrix((row("perce"), [BASE]), baseline=None))
    assert "No row was trained by a baseline" in found.headline
    assert verdict_of(matrix((row(None), [BASE]), (row("ce"), [BASE]))).headline.startswith("Nothing but ce")
    found = compared(FAILED, ABSENT)
    assert found.headline == "No method can be compared with ce yet."
    assert found.notes == ("Not compared: 1 failed, 1 without a record.",)


def test_a_run_whose_gains_have_no_test_is_too_small() -> None:
    found = compared(UNTESTED, UNTESTED)
    assert found.headline == "The run is too small to tell any method from ce."
    assert found.notes[-1].startswith("Not compared: 2 without a test")


def test_a_run_that_separates_nothing_names_the_users_that_would_do() -> None:
    """Of the clearest difference; none with several seeds, of which users say nothing, or under 5 users."""
    clear = gain(-0.3, 0.4, seeds=1, variance=0.04)
    assert clear.gain is not None
    users = clear.gain.users_needed(2)
    found = compared(gain(0.9, 0.6, seeds=1, variance=9.0), clear)
    assert found.headline == "The run is too small to tell any method from ce."
    assert f"{users} users would do" in found.points[0]
    assert "perce (s → t1) is the −0.300 observed with 8" in found.points[0]
    assert compared(OPEN, OPEN).points == ()
    few = gain(0.3, 0.4, seeds=1, users=4, variance=0.04)
    assert not any("would do" in line for line in compared(few).points)


def test_a_run_of_many_users_that_separates_nothing_is_not_called_too_small() -> None:
    """Too small: one standard deviation of users would mostly be missed. 8 users: (2.4 + .9) / √8 = 1.2; 45:
    (2 + .85) / √45 = .4."""
    assert compared(gain(0.1, 0.5, users=8)).headline.startswith("The run is too small")
    assert (
        compared(gain(0.1, 0.5, users=45)).headline == "No method can be told from ce in the only comparison."
    )


def test_a_mean_gain_that_remains_is_said_where_no_comparison_does(bench: Bench) -> None:
    users = [f"user {place}" for place in range(6)]
    for place, target in enumerate(("fam/a", "fam/b", "fam/c", "fam/d")):
        base = [0.2 + 0.01 * user for user in range(6)]
        moved = [0.04 + (0.07 if user % 3 == place % 3 else -0.02) for user in range(6)]
        scores = [x - gain for x, gain in zip(base, moved, strict=True)]
        bench.evaluate(base, trainer="ce", source="s", target=target, users=users)
        bench.evaluate(scores, trainer="late", source="s", target=target, users=users)
    matrix = matrix_of(load([bench.path]))
    assert not any(gain.remains for gain in matrix.gains)
    headline = verdict_of(matrix).headline
    assert headline.startswith("On average late is behind ce in ")
    assert "−0.0" in headline
    assert "no single comparison tells" in headline


def test_names_of_methods_are_found_in_sentences() -> None:
    found = verdict_of(
        matrix(
            (row("ce"), [BASE]), (row("a"), [WON]), (row("a_b"), [OPEN]), (row("ce", variation="n=1"), [OPEN])
        )
    )
    parts = found.named("ce (n=1) and a_b, not a/b or ce")
    assert [part for part, name in parts if name] == ["ce (n=1)", "a_b"]
    assert "".join(part for part, _ in parts) == "ce (n=1) and a_b, not a/b or ce"


@pytest.mark.parametrize("tests", [1, 12])
def test_users_needed(tests: int) -> None:
    """(t(1 - .025/m) + t(.8)) √(V G/N) is the difference, at N - 1 degrees of freedom and no fewer users."""
    estimate = Estimate(0.3, 40, 0, 8, Spread(0.04, 7), (-1, 1), 0.2, 1, 0.4)
    found = estimate.users_needed(tests)
    assert found is not None

    def least(users: int) -> float:
        such = Spread(0.04 * 8 / users, users - 1)
        return (such.quantile(1 - 0.025 / tests) + such.quantile(0.8)) * sqrt(such.variance)

    assert least(found) <= 0.3 < least(found - 1)
    assert found > 8
    for other in (
        replace(estimate, value=0.0),
        replace(estimate, seeds=2),
        replace(estimate, spread=None),
        replace(estimate, spread=Spread(0.0, 7)),
        replace(estimate, value=1e-6),
    ):
        assert other.users_needed(tests) is None


@pytest.mark.parametrize(
    ("count", "total", "said"),
    [
        (1, 1, "The only test"),
        (2, 2, "Both tests"),
        (3, 3, "All 3 tests"),
        (1, 2, "1 of 2 tests"),
        (0, 1, "0 of 1 test"),
    ],
)
def test_parts_of_a_count(count: int, total: int, said: str) -> None:
    assert part_of(count, total, "test") == said


@pytest.mark.parametrize(("total", "said"), [(1, "the only test"), (2, "either test"), (3, "any of 3 tests")])
def test_any_of_a_count(total: int, said: str) -> None:
    assert any_of(total, "test") == said
