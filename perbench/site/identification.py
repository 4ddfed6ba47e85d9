"""Identifiers against the gold spans, one line per record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perbench.site.format import digits_for, variation
from perbench.store import CellRecord, Metric

FIRST = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Line:
    """`rate` is examples per second of scoring alone, loading not included; None where it was not timed."""

    record: CellRecord
    variation: str
    metrics: tuple[Metric | None, ...]
    rate: float | None


@dataclass(frozen=True)
class Found:
    """`metrics` names the columns: precision, recall, F1, then whatever else was recorded."""

    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    digits: tuple[int, ...]
    notes: tuple[str, ...]


def identification(records: Sequence[CellRecord]) -> Found:
    chosen = sorted((record for record in records if record.kind == "identify"), key=_order)
    names = {name for record in chosen for name in record.metrics}
    metrics = tuple(
        sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    )
    lines = tuple(
        Line(
            record=record,
            variation=variation(record.labels.identifier_params),
            metrics=tuple(record.metrics.get(name) for name in metrics),
            rate=_rate(record),
        )
        for record in chosen
    )
    digits = tuple(digits_for(r.metrics[name].value for r in chosen if name in r.metrics) for name in metrics)
    notes = dict.fromkeys(note for record in chosen for note in record.notes)
    return Found(metrics, lines, digits, tuple(sorted(notes)))


def _order(record: CellRecord) -> tuple[str, str, str, str, int]:
    labels = record.labels
    parameters = variation(labels.identifier_params)
    return labels.target or "", labels.identifier or "", parameters, labels.model, labels.seed


def _rate(record: CellRecord) -> float | None:
    milliseconds = record.tokens.get("timed_ms", 0)
    return 1000 * record.tokens["timed_examples"] / milliseconds if milliseconds else None
