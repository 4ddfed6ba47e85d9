"""Many estimates at once are those of each method, or pair, by itself, bit for bit."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.stats import paired
from perbench.stats.paired import Aligned, Method, Sampled

SCORES = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1.0]), st.floats(-3, 3))


@st.composite
def methods(draw: st.DrawFn) -> list[Method]:
    """On some of seven samples of up to five users, with one to three seeds, with scores missing here and
    there."""
    users = [f"u{draw(st.integers(0, 4))}" for _ in range(7)]
    found = []
    for _ in range(draw(st.integers(1, 5))):
        asked = draw(st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True))
        seeds = [
            Sampled(
                [str(one) for one in asked],
                [users[one] for one in asked],
                np.array([draw(SCORES) for _ in asked], np.float64)[:, None],
            )
            for _ in range(draw(st.integers(1, 3)))
        ]
        found.append(Method(seeds, draw(st.booleans())))
    return found


@settings(max_examples=60, deadline=None)
@given(methods(), st.booleans())
def test_estimates(found: list[Method], in_parts: bool) -> None:
    count = len(found)
    wanted = [*((one,) for one in range(count)), *product(range(count), repeat=2)]
    before = paired.AT_ONCE
    paired.AT_ONCE = 1 if in_parts else before
    try:
        many = Aligned(found).estimates(wanted)
    finally:
        paired.AT_ONCE = before
    for places, one in zip(wanted, many, strict=True):
        table = Aligned(found)
        assert repr(one) == repr(table.value(*places) if len(places) == 1 else table.gain(*places))


def test_none() -> None:
    assert Aligned([]).estimates([]) == []
