"""The task section `likelihood`, and the names of the metrics."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perbench.shapes.base import Strict

RATES = ("nll", "gain_over_none", "gain_over_other")
"""Nats per token."""
WINS = {"win_over_none": "gain_over_none", "win_over_other": "gain_over_other"}
"""The share of examples with such a gain above 0."""
PARTS = ("", "_personal", "_rest")
"""Suffixes: over all tokens, the personal ones, and the others."""
BITS = "bits_per_character"
PERSONAL = 1.0
"""A token is personal if its PIR under the model before training exceeds this (PerCE, 2.2)."""


class LikelihoodSpec(Strict):
    """Scores the user's own text by its log-probability (protocol `likelihood`)."""

    others: Annotated[int, Field(ge=0)] = 2
    """Number of other users whose personas take the place of the user's own; fewer if the test split has
    fewer. 0: none, without the metrics of other personas."""


def metric_names(others: int) -> list[str]:
    """The headline comes first."""
    kinds = [name for name in (*RATES, *WINS) if others or not name.endswith("_other")]
    return [*(f"{name}{part}" for name in kinds for part in PARTS), BITS]
