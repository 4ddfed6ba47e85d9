"""The axes of drawn charts."""

from __future__ import annotations

import pytest

from perbench.contracts.chart import Axis
from perbench.site.scale import scale_of


@pytest.mark.parametrize("round_up", [True, False])
@pytest.mark.parametrize("values", [(0.0, 5e-324), (0.0, 1e-291), (-5e-324, 5e-324), (7.0, 7.0), (0.0, 0.0)])
def test_a_range_too_small_for_floats_is_one_value_in_the_middle(
    values: tuple[float, ...], round_up: bool
) -> None:
    scale = scale_of(Axis("x", False), values, 0, 100, round_up=round_up)
    assert {scale(value) for value in values} == {50.0}


@pytest.mark.parametrize("round_up", [True, False])
def test_small_ranges_keep_their_order(round_up: bool) -> None:
    scale = scale_of(Axis("x", False), (1e-280, 2e-280), 0, 100, round_up=round_up)
    assert 0 <= scale(1e-280) < scale(2e-280) <= 100
