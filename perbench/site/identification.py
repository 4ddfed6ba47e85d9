"""Identifiers against the gold spans: a line per record and threshold, in tables of a few columns each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perbench.site.format import digits_for, variation
from perbench.store import CellRecord, Metric

TUNED = "_tuned"
QUALITY = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "average precision",
}
LEVELS = {
    "f1": "tokens",
    "f1_strict": "tokens, strict",
    "word_f1": "words",
    "word_f1_strict": "words, strict",
    "span_f1": "spans",
    "span_f1_strict": "spans, strict",
    "word_average_precision": "average precision of words",
}
WHERE = {
    "false_distractor": "false: distractors",
    "false_none": "false: words of answers without gold",
    "source_accuracy": "right sentence",
}


@dataclass(frozen=True)
class Line:
    """`cut` names the threshold, empty where the record tells none; `rate` is examples per second of scoring
    alone, loading not included; None where it was not timed."""

    record: CellRecord
    variation: str
    cut: str
    metrics: tuple[Metric | None, ...]
    rate: float | None


@dataclass(frozen=True)
class Table:
    """`headings` and `digits` have an entry for each metric of a line; the `timed` table also shows samples,
    time and speed."""

    caption: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    digits: tuple[int, ...]
    timed: bool


@dataclass(frozen=True)
class Found:
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def identification(records: Sequence[CellRecord]) -> Found:
    """Without tables where nothing was identified."""
    chosen = sorted((record for record in records if record.kind == "identify"), key=_order)
    if not chosen:
        return Found((), ())
    names = {name.removesuffix(TUNED) for record in chosen for name in record.metrics}
    kinds = sorted(name for name in names if name.startswith("recall_") and name != "recall_strict")
    where = {**{name: name.removeprefix("recall_") for name in kinds}, **WHERE}
    plans = [
        ("Personal tokens against gold spans", QUALITY, True),
        ("Recall by kind of span, and shares predicted falsely", where, False),
        ("F1 by unit and rule", LEVELS, False),
    ]
    tables = [
        _table(caption, {name: heading for name, heading in columns.items() if name in names}, chosen, timed)
        for caption, columns, timed in plans
        if timed or names & (columns.keys() - {"f1"})
    ]
    said: dict[str, list[str]] = {}
    for record in chosen:
        for note in record.notes:
            said.setdefault(note, []).append(_name(record))
    notes = [f"{note} ({', '.join(dict.fromkeys(who))})" for note, who in said.items()]
    return Found(tuple(tables), tuple(sorted(notes)))


def _table(caption: str, columns: Mapping[str, str], records: Sequence[CellRecord], timed: bool) -> Table:
    lines = [_line(record, suffix, columns) for record in records for suffix in _suffixes(record)]
    digits = [digits_for(metric.value for metric in column if metric) for column in _columns(lines)]
    return Table(caption, tuple(columns.values()), tuple(lines), tuple(digits), timed)


def _columns(lines: Sequence[Line]) -> list[tuple[Metric | None, ...]]:
    return list(zip(*(line.metrics for line in lines), strict=True))


def _suffixes(record: CellRecord) -> tuple[str, ...]:
    return ("", TUNED) if f"threshold{TUNED}" in record.metrics else ("",)


def _line(record: CellRecord, suffix: str, columns: Mapping[str, str]) -> Line:
    metrics = record.metrics
    threshold = metrics.get(f"threshold{suffix}")
    cut = f"threshold {threshold.value:.3g}" if threshold is not None and threshold.value is not None else ""
    return Line(
        record=record,
        variation=variation(record.labels.identifier_params),
        cut=cut + " from dev" * bool(suffix),
        metrics=tuple(metrics.get(name + suffix, metrics.get(name)) for name in columns),
        rate=_rate(record),
    )


def _name(record: CellRecord) -> str:
    return " ".join(
        filter(None, (record.labels.identifier or "unnamed", variation(record.labels.identifier_params)))
    )


def _order(record: CellRecord) -> tuple[str, str, str, str, int]:
    labels = record.labels
    parameters = variation(labels.identifier_params)
    return labels.target or "", labels.identifier or "", parameters, labels.model, labels.seed


def _rate(record: CellRecord) -> float | None:
    milliseconds = record.tokens.get("timed_ms", 0)
    return 1000 * record.tokens["timed_examples"] / milliseconds if milliseconds else None
