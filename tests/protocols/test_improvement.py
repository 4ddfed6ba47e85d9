"""How ratings rise with the turns, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.protocols.dialogue.improvement import NAMES, fit_lines, improvement


def rows(*ratings: list[int | None]) -> tuple[list[float | None], list[int], list[str]]:
    """Ratings by persona and turn as the columns of samples."""
    found = [
        (rating, turn, f"p{who}") for who, line in enumerate(ratings) for turn, rating in enumerate(line, 1)
    ]
    return [r for r, _, _ in found], [t for _, t, _ in found], [c for _, _, c in found]


def test_by_hand() -> None:
    # AL = 2, 4, 3: x = -1, 0, 1, y = -1, 1, 0: slope 1/2, R2 = (1/2)^2 * 2 / 2 = 1/4; normalised 0, 1, 1/2.
    found = improvement(*rows([1, 4, 2], [3, 4, 4]), "judge")
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(
        {"ir": 0.5, "r2": 0.25, "n_ir": 0.25, "n_r2": 0.25}
    )
    assert found["ir"].signature == "ir|least squares on turns 1-3|judge"
    assert (found["ir"].ci, found["ir"].users) == (None, 2)
    assert (found["ir"].n, found["ir"].missing) == (6, 0)


def test_the_slope_alone_has_an_interval() -> None:
    found = improvement(*rows([1, 2], [5, 3], [2, 2]), "judge")
    # Slopes of the personas: 1, -2, 0; equal users: the t interval of their mean.
    half = 4.30265273 * np.sqrt(7 / 3 / 3)
    assert found["ir"].value == pytest.approx(-1 / 3)
    assert found["ir"].ci == pytest.approx((-1 / 3 - half, -1 / 3 + half))
    assert [found[name].ci for name in NAMES] == [found["ir"].ci, None, None, None]


def test_a_turn_of_one_persona_leaves_no_interval() -> None:
    found = improvement(*rows([1, 2, 3], [5, 3, None], [2, 2, None], [1, 2, None]), "judge")
    assert found["ir"].value is not None
    assert found["ir"].ci is None


def test_missing_ratings_are_left_out_and_counted() -> None:
    found = improvement(*rows([2, None, 4], [None, None, 4]), "judge")
    assert found["ir"].value == pytest.approx(1.0)  # turns 1 and 3 at 2 and 4
    assert (found["ir"].n, found["ir"].missing) == (3, 3)


def test_what_does_not_rise_has_a_slope_and_nothing_else() -> None:
    found = improvement(*rows([3, 3, 3], [4, 4, 4]), "judge")
    assert {name: metric.value for name, metric in found.items()} == {
        "ir": 0.0,
        "r2": None,
        "n_ir": None,
        "n_r2": None,
    }


@pytest.mark.parametrize("ratings", [[[3], [4]], [[None, None]], [[None, 2], [None, 3]]])
def test_one_turn_is_no_line(ratings: list[list[int | None]]) -> None:
    found = improvement(*rows(*ratings), "judge")
    assert [(metric.value, metric.ci) for metric in found.values()] == [(None, None)] * len(NAMES)


@given(st.lists(st.integers(1, 50), min_size=3, max_size=10, unique=True))
def test_lines_are_numpys_and_normalising_keeps_their_determination(levels: list[int]) -> None:
    al = np.array([levels], dtype=float) / 10
    turns = np.arange(1.0, len(levels) + 1)
    slope, r2, n_slope, n_r2 = fit_lines(al, turns)[:, 0]
    assert slope == pytest.approx(np.polyfit(turns, al[0], 1)[0], abs=1e-9)
    assert r2 == pytest.approx(np.corrcoef(turns, al[0])[0, 1] ** 2, abs=1e-9)
    assert n_slope == pytest.approx(slope / (al.max() - al.min()), abs=1e-9)
    assert n_r2 == pytest.approx(r2, abs=1e-9)
