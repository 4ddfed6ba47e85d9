"""The verdict, sentence by sentence, of matrices written by hand."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Literal

import pytest

from perbench.contracts.results import Matrix, Mean, ModelRow, Outcome, TargetColumn
from perbench.site.load import load
from perbench.site.verdict import verdict
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


def compared(*found: Outcome, better: Literal["higher", "lower"] | None = "higher") -> list[str]:
    """Of one method on as many targets."""
    return verdict(matrix((row("ce"), [BASE] * len(found)), (row("perce"), [*found]), better=better))


def test_methods_come_strongest_first_with_one_line_each() -> None:
    found = verdict(
        matrix(
            (row(None), [BASE] * 3),
            (row("ce"), [BASE] * 3),
            (row("a"), [OPEN, OPEN, OPEN]),
            (row("b"), [LOST, LOST, OPEN]),
            (row("c"), [WON, LOST, WON]),
            (row("d"), [WON, WON, OPEN]),
            (row("ce", variation="upper=3"), [WON, OPEN, OPEN]),
        )
    )
    assert found == [
        "d beats ce in 2 of 3 comparisons and loses in none.",
        "c beats ce in 2 of 3 comparisons and loses in 1 (s → t1).",
        "ce (upper=3) beats ce in 1 of 3 comparisons and loses in none.",
        "a cannot be told from ce in any of 3 comparisons.",
        "b loses to ce in 2 of 3 comparisons and beats it in none.",
        "With these users 7 of 15 comparisons cannot tell the method from ce.",
    ]


def test_a_comparison_is_of_a_model_a_source_and_a_target() -> None:
    rows = [(row("ce", source, model), [BASE, BASE]) for model in "mn" for source in "rs"]
    rows += [(row("perce", source, model), [WON, WON]) for model in "mn" for source in "rs"]
    rows[-1][1][0] = LOST
    first, *rest = verdict(matrix(*rows))
    assert first == "perce beats ce in 7 of 8 comparisons and loses in 1 (n, s → t0)."
    assert rest == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(WON, "perce beats ce in its only"), (LOST, "perce loses to ce in its only comparison (s → t0)")],
)
def test_one_comparison(outcome: Outcome, said: str) -> None:
    (line,) = compared(outcome)
    assert line.startswith(said)


def test_lower_is_better() -> None:
    assert compared(LOST, LOST, better="lower") == ["perce beats ce in 2 of 2 comparisons and loses in none."]


def test_what_has_no_better_side_is_neither_won_nor_lost() -> None:
    (first, last) = compared(WON, OPEN, better=None)
    assert first.startswith("length ")
    assert first.endswith("differs from ce in 1 of 2 comparisons.")
    assert last.startswith("With these users 1 of 2")
    mixed = matrix((row("ce"), [BASE] * 2), (row("perce"), [WON, OPEN]))
    mixed = replace(mixed, columns=(column("t0", None), column("t1")))
    assert [line.split(" ")[0] for line in verdict(mixed)] == ["No", "length", "With"]


def test_missing_cells_are_counted_and_in_no_comparison() -> None:
    found = verdict(
        matrix(
            (row("ce"), [BASE, BASE, BASE, BASE, BASE, FAILED]),
            (row("perce"), [WON, FAILED, ABSENT, UNSCORED, UNTESTED, Outcome("done", mean=MEAN)]),
            (row("perce", "other"), [ABSENT] * 5 + [Outcome("done", mean=MEAN)]),
        )
    )
    assert found[0] == "perce beats ce in its only comparison."
    for part in ("1 failed", "6 without a record", "1 without a score", "1 without a test", "2 without ce"):
        assert part in found[-1]


def test_seeds_that_are_not_there_are_counted(bench: Bench) -> None:
    for seed, values in ((0, [0.4, 0.5, 0.9]), (1, None)):
        bench.evaluate([0.1, 0.2, 0.3], trainer="ce", source="s", seed=seed)
        bench.evaluate(values, trainer="perce", source="s", seed=seed)
    found = build_view(load([bench.path])).verdict
    assert any(line.startswith("1 of 1 comparison rests on 1 seed") for line in found)
    assert "1 value without the seeds that failed." in found


def test_nothing_to_compare() -> None:
    assert verdict(Matrix((), (), "ce")) == []
    (line,) = verdict(matrix((row("perce"), [BASE]), baseline=None))
    assert "No row was trained by a baseline" in line
    (line,) = verdict(matrix((row(None), [BASE]), (row("ce"), [BASE])))
    assert line.startswith("Nothing but ce")
    first, last = compared(FAILED, ABSENT)
    assert first == "No method can be compared with ce yet."
    assert last == "Not compared: 1 failed, 1 without a record."


def test_a_run_whose_gains_have_no_test_is_too_small() -> None:
    first, last = compared(UNTESTED, UNTESTED)
    assert first == "The run is too small to tell any method from ce."
    assert last.startswith("Not compared: 2 without a test")


def test_a_run_that_separates_nothing_names_the_users_that_would_do() -> None:
    """Of the clearest difference; none with several seeds, of which users say nothing, or under 5 users."""
    clear = gain(-0.3, 0.4, seeds=1, variance=0.04)
    assert clear.gain is not None
    users = clear.gain.users_needed(2)
    first, *_ = compared(gain(0.9, 0.6, seeds=1, variance=9.0), clear)
    assert first.startswith("The run is too small to tell any method from ce; about ")
    assert f" {users} users would do" in first
    assert "perce (s → t1) is the −0.300 observed with 8" in first
    assert compared(OPEN, OPEN) == ["The run is too small to tell any method from ce."]
    few = gain(0.3, 0.4, seeds=1, users=4, variance=0.04)
    assert compared(few)[0] == "The run is too small to tell any method from ce."


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
