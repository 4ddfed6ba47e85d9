"""Likelihood: parts of a text add up to the whole, whatever the log-probs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.owners import score
from tests.protocols.test_likelihood import row, scored

LOGP = st.lists(st.integers(-2000, 0).map(lambda n: n / 100), min_size=1, max_size=6)


@st.composite
def samples(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for place in range(draw(st.integers(1, 5))):
        own = draw(LOGP)
        same = st.lists(st.integers(-2000, 0).map(lambda n: n / 100), min_size=len(own), max_size=len(own))
        other = draw(st.lists(same, min_size=1, max_size=3))
        personal = sorted(draw(st.sets(st.integers(0, len(own) - 1))))
        user = draw(st.sampled_from("abc"))
        found.append(row(f"{user}{place}", own, draw(same), other, personal, draw(st.integers(1, 40))))
    return found


@given(samples(), st.randoms(use_true_random=False))
def test_parts_add_up_and_order_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    found = score(scored(2), rows)
    tokens = sum(len(one["own"]) for one in rows)
    personal = sum(len(one["personal"]) for one in rows)
    for name in ("nll", "gain_over_none", "gain_over_other"):
        parts = [
            (found.metrics[f"{name}_personal"].value, personal),
            (found.metrics[f"{name}_rest"].value, tokens - personal),
        ]
        whole = sum(value * size for value, size in parts if value is not None)
        assert found.metrics[name].value == pytest.approx(whole / tokens, abs=1e-9)
    # The text without a persona is worse than with one by exactly the gain.
    none = [{**one, "own": one["none"]} for one in rows]
    gap = score(scored(2), none).metrics["nll"].value - found.metrics["nll"].value
    assert gap == pytest.approx(found.metrics["gain_over_none"].value, abs=1e-9)
    # As its own rival, a persona neither gains nor wins.
    twin = score(scored(1), [{**one, "other": [one["own"]], "others": ["x"]} for one in rows]).metrics
    assert (twin["gain_over_other"].value, twin["win_over_other"].value) == (0.0, 0.0)
    shuffled = random.sample(rows, len(rows))
    again = score(scored(2), shuffled).metrics
    assert {name: one.value for name, one in again.items()} == {
        name: pytest.approx(one.value, abs=1e-12) for name, one in found.metrics.items()
    }
