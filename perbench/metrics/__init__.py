"""Text metrics: compute numbers with intervals from stored samples, without generation or downloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from perbench import plugins
from perbench.contracts.metric import Measured, Scale, TextMetric, Texts
from perbench.errors import CellError, MetricAbsent
from perbench.shapes.task import TaskSpec
from perbench.store.record import Metric


@dataclass(frozen=True)
class TextScores:
    """`per_sample` has no entry for corpus-level metrics; `notes` list absent metrics and why."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    per_sample: dict[str, list[float | None]] = field(default_factory=dict)
    sums: dict[str, list[list[float] | None]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def text_metric(name: str, spec: TaskSpec | None = None) -> TextMetric:
    """The metric of a task; without one, what its class declares can be read.

    Raises:
        PerbenchError: there is no such metric, or its file is broken.
    """
    metric: TextMetric = plugins.get("metric", name).load_class()(spec)
    return metric


def check_measured(name: str, scale: Scale, measured: Measured, samples: int) -> None:
    """
    Raises:
        CellError: the values are not one per sample, or outside the range that the metric declares.
    """
    for given in (measured.per_sample, measured.sums):
        if given is not None and len(given) != samples:
            raise CellError(f"metric {name}: measure() gave {len(given)} values for {samples} samples")
    scale.check(name, (measured.metric.value, *(measured.per_sample or ())))


def score_texts(names: Sequence[str], texts: Texts, spec: TaskSpec | None = None) -> TextScores:
    """Compute the metrics `names`, by the keys of the task, if any. Missing answers have no score.

    Raises:
        PerbenchError: there is no such metric.
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
        measure = text_metric(name, spec)
        try:
            measured = measure.measure(name, scored)
        except MetricAbsent as absent:
            found.notes.append(f"metric {name} absent: {absent}")
            continue
        check_measured(name, measure.scale, measured, len(there))
        metric = measured.metric
        why = dict(sorted((Counter(metric.why) + absent_ones).items()))
        found.metrics[name] = metric.model_copy(
            update={"missing": metric.missing + absent_ones.total(), "why": why}
        )
        found.counts.update(measured.counts)
        found.notes.extend(note for note in measured.notes if note not in found.notes)
        if measured.per_sample is not None:
            scores = dict(zip(there, measured.per_sample, strict=True))
            found.per_sample[name] = [scores.get(place) for place in range(len(missing))]
        if measured.sums is not None:
            sums = dict(zip(there, measured.sums, strict=True))
            found.sums[name] = [sums.get(place) for place in range(len(missing))]
    return found
