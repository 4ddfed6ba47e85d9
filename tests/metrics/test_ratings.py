"""MAE and RMSE of ratings: gold numbers, LaMP's rules written out, scikit-learn."""

from __future__ import annotations

import math
import random

import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error

from perbench.contracts.metric import Texts
from perbench.metrics import TextScores, score_texts, text_metric
from tests.metrics.tasks import answered


def score(answers: list[str], gold: list[str], users: list[str] | None = None) -> TextScores:
    spec = answered(metrics=["mae", "rmse"], ratings=[1, 5])
    texts = Texts(answers, gold, users or ["u"] * len(gold), [False] * len(gold))
    return score_texts(spec.metrics, texts, spec)


def official(answer: str, gold: str) -> float:
    """LaMP's eval/evaluation.py."""
    try:
        return float(answer.strip())
    except ValueError:
        right = float(gold)
        return 1.0 if abs(1 - right) > abs(5 - right) else 5.0


def test_the_gold_numbers() -> None:
    """4, and 5, 5, 1 for what is no number: errors 1, 2, 4, 3; squares 1, 4, 16, 9."""
    found = score(["4", "three", "bad", "The score is 4"], ["5", "3", "1", "4"])
    assert found.per_sample["mae"] == [1, 2, 4, 3]
    assert found.metrics["mae"].value == 2.5
    assert found.metrics["rmse"].value == pytest.approx(math.sqrt(7.5)) == pytest.approx(2.738613)
    assert found.counts == {"unparsed": 3, "outside_scale": 0}
    assert "3 of 4 answers" in found.notes[0]


def test_lower_is_better() -> None:
    assert {text_metric(name).scale.better for name in ("mae", "rmse")} == {"lower"}


@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_those_of_the_official_rules(seed: int) -> None:
    draw = random.Random(seed)
    gold = [str(draw.randint(1, 5)) for _ in range(250)]
    odd = ["", "five", "4/5", "4.5", " 2 ", "100", "-3", "1e1", "٤", "5 stars", "0x3", "1_0", "None"]
    answers = [draw.choice([right, str(draw.randint(1, 5)), draw.choice(odd)]) for right in gold]
    users = [f"user-{draw.randrange(9)}" for _ in gold]
    read = [official(answer, right) for answer, right in zip(answers, gold, strict=True)]
    right = [float(one) for one in gold]
    found = score(answers, gold, users)
    assert found.metrics["mae"].value == pytest.approx(mean_absolute_error(right, read))
    assert found.metrics["rmse"].value == pytest.approx(math.sqrt(mean_squared_error(right, read)))
    for metric in found.metrics.values():
        assert metric.ci is not None
        assert metric.users == 9


@pytest.mark.parametrize("answer", ["nan", "NaN", "inf", "-Infinity", "1e300", "1e999"])
def test_what_is_no_finite_error_counts_as_unparsed(answer: str) -> None:
    """In the official code, one such answer makes the whole number nan or inf."""
    found = score([answer, "4"], ["2", "4"])
    assert found.metrics["mae"].value == 1.5
    assert found.metrics["rmse"].value == pytest.approx(math.sqrt(4.5))
    assert found.counts["unparsed"] == 1


def test_numbers_outside_the_scale_count_as_they_are_and_are_said() -> None:
    found = score(["100", "3"], ["5", "3"])
    assert found.metrics["mae"].value == 47.5
    assert found.counts["outside_scale"] == 1
    assert "outside 1 to 5" in found.notes[0]


def test_a_reference_that_is_no_rating_has_no_score() -> None:
    found = score(["4", "4", "4"], ["4", "six", "6"])
    for metric in found.metrics.values():
        assert (metric.value, metric.n, metric.missing) == (0.0, 1, 2)


@pytest.mark.parametrize("ends", [[5, 1], [1], [1, 2, 3], [1, 1], [1, float("inf")]])
def test_a_scale_has_a_lower_and_an_upper_end(ends: list[float]) -> None:
    with pytest.raises(ValueError, match="ratings"):
        answered(metrics=["mae"], ratings=ends)
