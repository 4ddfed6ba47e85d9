"""Text metrics: from stored samples to numbers with intervals. Nothing here generates or downloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import cast

from perbench.errors import PerbenchError, suggest
from perbench.metrics.base import Measured, MetricAbsent, Texts, mean_metric
from perbench.specs.registry import METRICS
from perbench.store.record import Metric

__all__ = ["TextScores", "Texts", "mean_metric", "score_texts"]


@dataclass(frozen=True)
class TextScores:
    """`per_sample` has no entry for corpus-level metrics; `notes` say which metrics are absent and why."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    per_sample: dict[str, list[float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def score_texts(names: Sequence[str], texts: Texts) -> TextScores:
    """Compute the metrics `names`. What is missing has no score under any of them.

    Raises:
        PerbenchError: a name is no metric.
    """
    found = TextScores()
    missing = texts.missing or [None] * len(texts.predictions)
    there = [place for place, reason in enumerate(missing) if reason is None]
    absent_ones = Counter(reason for reason in missing if reason is not None)
    scored = Texts(
        predictions=[texts.predictions[place] for place in there],
        references=[texts.references[place] for place in there],
        clusters=[texts.clusters[place] for place in there],
        truncated=[texts.truncated[place] for place in there],
    )
    for name in names:
        if name not in METRICS:
            raise PerbenchError(f"unknown metric {name!r}.{suggest(name, METRICS)}")
        measure = cast(Callable[[str, Texts], Measured], import_module(METRICS[name]).measure)
        try:
            measured = measure(name, scored)
        except MetricAbsent as absent:
            found.notes.append(f"metric {name} absent: {absent}")
            continue
        metric = measured.metric
        why = dict(sorted((Counter(metric.why) + absent_ones).items()))
        found.metrics[name] = metric.model_copy(
            update={"missing": metric.missing + absent_ones.total(), "why": why}
        )
        if measured.per_sample is not None:
            scores = dict(zip(there, measured.per_sample, strict=True))
            found.per_sample[name] = [scores.get(place) for place in range(len(missing))]
    return found
