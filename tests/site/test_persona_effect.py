"""Distributions of what the persona does to tokens, from stored log-probs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perbench.contracts.chart import Chart
from perbench.site.load import load
from perbench.site.sections.persona_effect import EDGES, steps
from perbench.site.view import ShownSection, build_view
from tests.site.conftest import Bench


def sample(name: str, own: Sequence[float], none: Sequence[float], **more: Any) -> dict[str, Any]:
    return {"id": name, "own": list(own), "none": list(none), "persona_kept": 2, **more}


def section(bench: Bench) -> ShownSection | None:
    view = build_view(load([bench.path]))
    assert not view.broken
    return next((one for one in view.sections if one.name == "persona_effect"), None)


def scored(bench: Bench, samples: Sequence[dict[str, Any]], **fields: Any) -> None:
    bench.evaluate(
        [1.0] * len(samples), headline="nll", beside={"gain_over_none": 0.1}, samples=samples, **fields
    )


def test_bins_by_hand() -> None:
    points = steps([-9.0, -3.0, -0.25, 0.0, 0.1, 0.25, 2.99, 3.0, 9.0, 9.0])
    shares = {point.x: point.y for point in points}
    assert shares[-3.25] == pytest.approx(0.1)  # all below -3
    assert shares[-3.0] == pytest.approx(0.1)
    assert shares[-0.25] == pytest.approx(0.1)
    assert shares[0.0] == pytest.approx(0.2)
    assert shares[0.25] == pytest.approx(0.1)
    assert shares[2.75] == pytest.approx(0.1)
    assert shares[EDGES[-1]] == pytest.approx(0.3)  # all from 3 on
    assert sum(point.y or 0 for point in points[:-1]) == pytest.approx(1.0)
    assert points[-1].y == points[-2].y  # the last step has a width


def test_a_panel_for_each_model_with_the_baseline_behind(bench: Bench) -> None:
    scored(bench, [sample("a", [-1.0, -2.0], [-1.5, -1.9]), sample("b", [-9.0], [0.0], persona_kept=0)])
    for trainer in ("ce", "perce"):
        scored(bench, [sample("a", [-1.0], [-3.0])], trainer=trainer, source="fam/write")
    found = section(bench)
    assert found is not None
    (chart,) = (block for block in found.blocks if isinstance(block, Chart))
    base, ce, perce = chart.panels
    assert [len(panel.series) for panel in chart.panels] == [1, 1, 2]
    assert "50%" in base.aside  # of two tokens; the text without a persona in its prompt is left out
    assert "100%" in ce.aside
    drawn = {series.role: {point.x: point.y for point in series.points} for series in perce.series}
    assert drawn["method"][2.0] == 1.0
    assert drawn["baseline"][2.0] == 1.0


def test_without_log_probs_there_is_no_section(bench: Bench) -> None:
    bench.evaluate([0.1, 0.2])
    scored(bench, [], target="fam/other")
    assert section(bench) is None
