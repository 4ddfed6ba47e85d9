"""What is stored of a metric's value for one document, from which its value for the task is computed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from .aggregates import MEAN, computes
from .samples import DocumentSample

OWN = "its aggregation is the task's own function {name}, and scores are computed without a task's code"


def stored(sample: DocumentSample, metric: str, function: Callable[..., Any] | None, value: Any) -> None:
    """Add a metric's value to the sample. `function` aggregates it; without one lm-eval takes the mean."""
    kind = MEAN if function is None else _names().get(function)
    if kind is None:
        sample["unscored"][metric] = OWN.format(name=getattr(function, "__name__", function))
        return
    if not computes(kind):
        sample["unscored"][metric] = f"lm-eval's aggregation {kind} gives no score"
        return
    try:
        plain = _plain(value)
    except TypeError as error:
        sample["unscored"][metric] = f"its values cannot be stored ({error})"
        return
    if kind == "brier_score":
        kind, plain = MEAN, _brier(plain)
    if kind not in (MEAN, "nanmean"):
        sample["corpus"][metric] = [kind, plain]
    elif isinstance(plain, int | float):
        sample["metrics"][metric] = float(plain) if math.isfinite(plain) else None
    else:
        sample["unscored"][metric] = f"its values are no numbers ({type(value).__name__})"


@cache
def _names() -> dict[Callable[..., Any], str]:
    registry: Any = importlib.import_module("lm_eval.api.registry")
    return {function: name for name, function in registry.AGGREGATION_REGISTRY.items()}


def _plain(value: Any) -> Any:
    """The value in JSON's types: numpy's numbers and booleans, and arrays of one number, become numbers.

    Raises:
        TypeError: it is of another type.
    """
    if hasattr(value, "tolist"):  # numpy, torch
        value = value.tolist()
    if isinstance(value, list | tuple):
        inner = [_plain(one) for one in value]
        return inner[0] if len(inner) == 1 and not isinstance(inner[0], str) else inner
    if isinstance(value, bool):
        return int(value)
    if value is None or not isinstance(value, str | int | float):
        raise TypeError(type(value).__name__)
    return value


def _brier(plain: Any) -> float:
    """The Brier score of one document, of which the task's is the mean, from (right choice, probabilities);
    NaN if there is no right choice."""
    right, probabilities = plain
    if not isinstance(right, int) or not 0 <= right < len(probabilities):
        return math.nan
    return float(sum((p - (i == right)) ** 2 for i, p in enumerate(probabilities)))
