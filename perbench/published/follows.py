"""Recomputes what follows from per-sample scores, as the run computes it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from perbench import plugins
from perbench.contracts.metric import Scale, mean_metric, rows_metric
from perbench.contracts.protocol import Protocol
from perbench.contracts.results import UNREADABLE
from perbench.errors import PerbenchError
from perbench.metrics import text_metric
from perbench.published.read import AGAIN, FileFault
from perbench.published.shape import Published
from perbench.stats.spread import Statistic
from perbench.store.record import CellRecord, Metric, Scores

CLOSE = 1e-9
"""Relative difference allowed between machines and versions."""
COMPARED = ("value", "ci", "ci_method", "users", "n", "missing", "by_turn")


def score_faults(published: Published) -> tuple[list[FileFault], dict[str, set[str]]]:
    """The fields of metrics that the per-sample scores contradict; and the metrics that follow from these,
    by the cell's place: the others need samples."""
    faults: list[FileFault] = []
    followed: dict[str, set[str]] = {}
    for place, cell in published.placed:
        if cell.scores is None:
            continue
        try:
            with np.errstate(all="ignore"):  # forged numbers may be of any size
                found = recomputed(protocol_of(cell.record), cell.record.metrics, cell.scores)
        except ValueError as error:
            faults.append(FileFault(f"{place}.scores", str(error), AGAIN))
            continue
        followed[place] = set(found)
        for key, old, new in contradictions(cell.record.metrics, found):
            what = f"{old}, but {new} by the per-sample scores"
            faults.append(FileFault(f"{place}.record.metrics.{key}", what, AGAIN))
    return faults, followed


def contradictions(
    metrics: Mapping[str, Metric], found: Mapping[str, Metric]
) -> Iterator[tuple[str, Any, Any]]:
    """The fields of metrics ("rougeL.ci") that differ from the recomputed ones, with both values."""
    for name, metric in found.items():
        new, old = (one.model_dump(mode="json", include=set(COMPARED)) for one in (metric, metrics[name]))
        yield from (
            (f"{name}.{key}", old[key], new[key]) for key in COMPARED if not close(new[key], old[key])
        )


def recomputed(
    protocol: type[Protocol[Any]] | None, metrics: Mapping[str, Metric], scores: Scores
) -> dict[str, Metric]:
    """Those of the metrics that follow from the scores; the others need samples. `protocol`: None if its
    plugin is not installed.

    Raises:
        ValueError: scores that no protocol gives.
    """
    try:
        implied = protocol.implied(scores, metrics) if protocol is not None else {}
    except UNREADABLE as error:
        raise ValueError(f"cannot be read by the target's protocol: {error}") from None
    found = {}
    for name, metric in metrics.items():
        if name in implied:
            found[name] = implied[name]
        elif name in scores.scores and name not in scores.sums:
            mean = mean_metric(scores.scores[name], scores.clusters, metric.signature, scale=_scale(metric))
            found[name] = mean.model_copy(update={"by_turn": metric.by_turn})
        elif name in scores.sums and (own := statistic_of(protocol, name, metric)) is not None:
            found[name] = _of_sums(name, metric, scores, *own)
    return found


def statistic_of(
    protocol: type[Protocol[Any]] | None, name: str, metric: Metric
) -> tuple[Statistic, Scale] | None:
    """That of the sums of a corpus-level metric, and its scale; None if its plugin is not installed."""
    own = protocol.statistic(metric) if protocol is not None else None
    if own is not None:
        return own, _scale(metric)
    try:
        found = text_metric(name)
    except PerbenchError:
        return None
    return partial(found.of_sums, name), found.scale


def _of_sums(name: str, metric: Metric, scores: Scores, statistic: Statistic, scale: Scale) -> Metric:
    try:
        return rows_metric(statistic, scores.sums[name], scores.clusters, metric.signature, scale=scale)
    except UNREADABLE as error:
        raise ValueError(f"sums of {name} cannot be read by the metric: {error}") from None


def _scale(metric: Metric) -> Scale:
    low, high = metric.bounds or (None, None)
    return Scale(bounds=(-math.inf if low is None else low, math.inf if high is None else high))


def protocol_of(record: CellRecord) -> type[Protocol[Any]] | None:
    """The class of the target's protocol; None if its plugin is not installed."""
    target = record.inputs.get("target")
    name = str(target.get("protocol")) if isinstance(target, dict) else ""
    try:
        found: type[Protocol[Any]] = plugins.get("protocol", name).load_class()
    except PerbenchError:
        return None
    return found


def close(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal up to rounding."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == other)
