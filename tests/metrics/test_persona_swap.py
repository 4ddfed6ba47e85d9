"""Persona swap: wins, ties and losses by hand, with intervals over users."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.protocols.generation.section import PersonaSwapSpec
from perbench.protocols.generation.swap_scores import left_out, measure, notes, win_rate


@pytest.mark.parametrize(
    ("logp", "gold"),
    [
        ([-1.0, -2.0, -3.0], 1.0),
        ([-3.0, -2.0, -1.0], 0.0),
        ([-2.0, -2.0], 0.5),
        ([-2.0, -1.0, -2.0, -3.0, -4.0], (0 + 0.5 + 1 + 1) / 4),
        ([-2.0], None),
        ([], None),
    ],
)
def test_win_rate_by_hand(logp: list[float], gold: float | None) -> None:
    assert win_rate(logp) == gold


@given(st.lists(st.integers(-5, 0), min_size=2, max_size=2))
def test_the_two_sides_of_a_duel_add_up_to_one(pair: list[int]) -> None:
    forth, back = win_rate([*map(float, pair)]), win_rate([*map(float, reversed(pair))])
    assert forth is not None
    assert back is not None
    assert forth + back == 1


def sample(user: str, response: list[float], reference: list[float], left_out: int = 0) -> dict[str, Any]:
    others = [f"o{i}" for i in range(max(len(response), len(reference)) - 1)]
    found = {"others": others, "left_out": left_out, "response": response, "reference": reference}
    return {"user": user, "persona_swap": found}


def test_metrics_by_hand() -> None:
    samples = [
        sample("u", [-1.0, -2.0, -3.0], [-5.0, -4.0, -6.0]),  # 1; 1/2
        sample("u", [-2.0, -2.0, -1.0], [-5.0, -6.0, -6.0]),  # 1/4; 1
        sample("v", [], [-9.0, -8.0, -7.0]),  # an empty answer; 0
        sample("w", [-3.0, -1.0, -2.0], [-5.0, -5.0, -5.0]),  # 0; 1/2
    ]
    spec = PersonaSwapSpec(others=2)
    found = measure(spec, samples, 64)
    outputs, references = found["persona_swap"], found["persona_swap_reference"]
    assert outputs.per_sample == [1.0, 0.25, None, 0.0]
    assert outputs.metric.value == pytest.approx(1.25 / 3)
    assert (outputs.metric.n, outputs.metric.missing) == (3, 1)
    assert (outputs.metric.users, outputs.metric.ci) == (2, None)
    assert references.metric.users == 3
    assert references.metric.ci is not None
    assert outputs.metric.why == {"text without tokens": 1}
    assert references.per_sample == [0.5, 1.0, 0.0, 0.5]
    assert references.metric.value == 0.5
    assert outputs.metric.signature == "persona_swap|ties:1/2|unfit:left-out|others:2|scorer:base|tokens:64"
    assert notes(spec, samples) == []
    assert notes(PersonaSwapSpec(others=3), samples) == [
        "persona_swap: some answers had 2 other personas to be tried with, not 3"
    ]


def test_comparisons_left_out_are_told_and_make_no_score() -> None:
    samples = [
        sample("u", [-1.0, -2.0], [-1.0, -1.0], left_out=1),  # of two rivals one fits
        sample("v", [], [], left_out=2),
        sample("w", [-2.0, -1.0, -3.0], [-1.0, -2.0, -3.0]),
    ]
    spec = PersonaSwapSpec(others=2)
    found = measure(spec, samples, 64)
    assert found["persona_swap"].per_sample == [1.0, None, 0.5]
    assert found["persona_swap_reference"].per_sample == [0.5, None, 1.0]
    assert (found["persona_swap"].metric.n, found["persona_swap"].metric.missing) == (2, 1)
    assert left_out(samples) == 3
    assert notes(spec, samples) == [
        "persona_swap: 3 comparisons left out, as no item of one persona fits into the prompt; answers "
        "with none left: 1"
    ]


def test_one_user_alone_has_no_score_and_says_why() -> None:
    alone = {"user": "u", "persona_swap": {"others": [], "left_out": 0, "response": [], "reference": []}}
    refused = {"user": "u", "missing": "refused"}
    for found in measure(PersonaSwapSpec(others=2), [alone, refused], 64).values():
        assert (found.metric.value, found.metric.missing) == (None, 2)
        assert found.metric.why == {"no other user's persona to try": 1, "refused": 1}
