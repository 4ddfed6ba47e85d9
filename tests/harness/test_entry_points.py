"""Entry points for lm-eval releases after 0.4.13: every object is there, and works as lm-eval calls it."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

DECLARED = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "entry-points"
]
GROUPS = ("lm_eval.models", "lm_eval.metrics")


def test_what_is_declared_is_registered_under_its_name() -> None:
    from lm_eval.api.registry import get_metric, get_metric_aggregation, get_model, is_higher_better

    lookup = {"lm_eval.models": get_model, "lm_eval.metrics": get_metric}
    for group in GROUPS:
        for name, place in DECLARED[group].items():
            module, _, attribute = place.partition(":")
            found = getattr(importlib.import_module(module), attribute)
            assert lookup[group](name) is found
    # "the cat sat" against "the cat ran": 2 of 3 words on both sides.
    assert get_metric("perbench_rouge1")(references=["the cat sat"], predictions=["the cat ran"]) == (
        pytest.approx(2 / 3)
    )
    assert is_higher_better("perbench_rouge1")
    assert get_metric_aggregation("perbench_rouge1")([0.0, 1.0]) == 0.5
