"""Average precision and the best threshold: by hand, and against a plain count over all thresholds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.stats.curve import Curve


def ranking(scores: list[float], correct: list[bool], gold: int | None = None) -> Curve:
    return Curve(scores, correct, [0] * len(scores), [sum(correct) if gold is None else gold])


@pytest.mark.parametrize(
    ("scores", "correct", "gold", "expected"),
    [
        ([4, 3, 2, 1], [True, True, False, False], None, 1.0),
        ([4, 3, 2, 1], [False, False, True, True], None, (1 / 3 + 2 / 4) / 2),
        # The worked example of scikit-learn's documentation of average_precision_score.
        ([0.1, 0.4, 0.35, 0.8], [False, False, True, True], None, 0.5 * 1.0 + 0.5 * 2 / 3),
        ([1, 1, 1, 1], [True, False, False, False], None, 1 / 4),  # one score: one point of the curve
        ([2, 1, 1], [False, True, True], None, 2 / 3),
        ([2, 1], [True, False], 4, 1 / 4),  # three gold units that nothing can find
        ([2, 1], [False, False], 3, 0.0),
        ([], [], 2, 0.0),
        ([1.0], [False], 0, None),
    ],
)
def test_average_precision_by_hand(
    scores: list[float], correct: list[bool], gold: int | None, expected: float | None
) -> None:
    assert ranking(scores, correct, gold).average_precision() == (
        pytest.approx(expected) if expected is not None else None
    )


@pytest.mark.parametrize(
    ("scores", "correct", "gold", "expected"),
    [
        ([4, 3, 2, 1], [True, True, False, False], None, 2.5),
        ([4, 3, 1, 0], [True, False, True, False], None, 0.5),  # 2/3, 1/2, 4/5, 2/3
        ([4, 3, 2, 1], [False, False, False, True], None, 0.0),  # below all: every unit
        ([4, 3, 2], [True, False, True], 4, 1.0),  # 2/5, 2/6, 4/7
        ([2, 1, 1], [True, False, False], 9, 1.5),
        ([4, 2, 0, 0], [True, True, False, True], 2, 1.0),
        (
            [1, 0, 0, 0],
            [True, False, False, True],
            2,
            0.5,
        ),  # 2/3 with one predicted, 2/3 with all: the higher
        ([2, 1], [False, False], 3, None),
        ([], [], 0, None),
    ],
)
def test_the_best_threshold_by_hand(
    scores: list[float], correct: list[bool], gold: int | None, expected: float | None
) -> None:
    assert ranking(scores, correct, gold).best_threshold() == expected


def test_scores_next_to_each_other_are_still_separated() -> None:
    low = 1.0
    high = 1.0 + 2**-52
    threshold = ranking([high, low], [True, False]).best_threshold()
    assert threshold is not None
    assert low <= threshold < high
    huge = ranking([1.7e308, 1.6e308], [True, False]).best_threshold()
    assert huge is not None
    assert 1.6e308 <= huge < 1.7e308


UNITS = st.lists(
    st.tuples(st.integers(-3, 3).map(float), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25
)


def f1(units: list[tuple[float, bool, int]], threshold: float, gold: int) -> float:
    predicted = [right for score, right, _ in units if score > threshold]
    return 2 * sum(predicted) / (len(predicted) + gold)


@settings(deadline=None)
@given(UNITS, st.integers(0, 5), st.randoms())
def test_both_agree_with_a_count_over_all_thresholds(units: list, missed: int, random) -> None:  # type: ignore[no-untyped-def,type-arg]
    gold = sum(right for _, right, _ in units) + missed
    expected, before = 0.0, 0
    for cut in sorted({score for score, _, _ in units}, reverse=True):
        predicted = [right for score, right, _ in units if score >= cut]
        expected += sum(predicted) / len(predicted) * (sum(predicted) - before) / max(gold, 1)
        before = sum(predicted)
    shuffled = random.sample(units, len(units))
    found = ranking([u[0] for u in shuffled], [u[1] for u in shuffled], gold)
    assert found.average_precision() == (pytest.approx(expected) if gold else None)
    best = found.best_threshold()
    if before:
        assert best is not None
        assert f1(units, best, gold) == pytest.approx(max(f1(units, t - 0.5, gold) for t in range(-3, 5)))
    else:
        assert best is None


@settings(deadline=None)
@given(UNITS)
def test_leaving_out_a_cluster_is_not_having_it(units: list) -> None:  # type: ignore[type-arg]
    gold = [sum(right for _, right, of in units if of == number) + 1 for number in range(4)]
    whole = Curve([u[0] for u in units], [u[1] for u in units], [u[2] for u in units], gold)
    left, sizes = whole.left_out()
    for number in range(4):
        kept = [unit for unit in units if unit[2] != number]
        again = ranking([u[0] for u in kept], [u[1] for u in kept], sum(gold) - gold[number])
        assert left[number] == pytest.approx(again.average_precision())
        assert sizes[number] == gold[number] + len(units) - len(kept)
