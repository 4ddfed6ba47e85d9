"""Identifiers against the gold spans: a line per record and threshold, in tables of a few columns each; the
tables of a section are of the same answers under the same settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perbench.site.apart import Variant, tell_apart
from perbench.site.columns import ASKED, Place, columns_of, told_apart
from perbench.site.flags import Flag, flags
from perbench.site.format import digits_for, natural, variation
from perbench.site.load import Entry
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
    """`variation` holds the identifier's hyperparameters and what else tells it from others of its name;
    `cut` names the threshold, empty where the record tells none; `rate` is examples per second of scoring
    alone, loading not included; None where it was not timed. `flags` holds for all its numbers."""

    record: CellRecord
    variation: str
    cut: str
    metrics: tuple[Metric | None, ...]
    rate: float | None
    flags: tuple[Flag, ...] = ()


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
class Section:
    """One target; `apart` says in words what tells it from other sections of the target."""

    target: str
    apart: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """ "identification/persona_qa · 8 examples"."""
        return " · ".join(filter(None, (self.target, self.apart)))


def identification(entries: Sequence[Entry]) -> tuple[Section, ...]:
    chosen = [entry for entry in entries if entry.record.kind == "identify"]
    places = columns_of(chosen, (*ASKED, "dev"))
    held: dict[Place, list[Entry]] = defaultdict(list)
    for entry in chosen:
        held[places[entry.record.identity]].append(entry)
    apart = told_apart(held)
    order = sorted(held, key=lambda place: (natural(place.target), natural(apart[place])))
    return tuple(_section(place.target, apart[place], held[place]) for place in order)


def _section(target: str, apart: str, entries: Sequence[Entry]) -> Section:
    variations = _variations(entries)
    records = [entry.record for entry in entries]
    records.sort(key=lambda record: _order(record, variations[record.identity]))
    names = {name.removesuffix(TUNED) for record in records for name in record.metrics}
    kinds = sorted(name for name in names if name.startswith("recall_") and name != "recall_strict")
    where = {**{name: name.removeprefix("recall_") for name in kinds}, **WHERE}
    plans = [
        ("Personal tokens against gold spans", QUALITY, True),
        ("Recall by kind of span, and shares predicted falsely", where, False),
        ("F1 by unit and rule", LEVELS, False),
    ]
    tables = []
    for caption, columns, timed in plans:
        if timed or names & (columns.keys() - {"f1"}):
            shown = {name: heading for name, heading in columns.items() if name in names}
            lines = [_line(r, variations[r.identity], cut, shown) for r in records for cut in _suffixes(r)]
            digits = [digits_for(metric.value for metric in column if metric) for column in _columns(lines)]
            tables.append(Table(caption, tuple(shown.values()), tuple(lines), tuple(digits), timed))
    said: dict[str, list[str]] = {}
    for record in records:
        name = " ".join(filter(None, (record.labels.identifier or "unnamed", variations[record.identity])))
        for note in record.notes:
            said.setdefault(note, []).append(name)
    notes = sorted(f"{note} ({', '.join(dict.fromkeys(who))})" for note, who in said.items())
    return Section(target, apart, tuple(tables), tuple(notes))


def _variations(entries: Sequence[Entry]) -> dict[str, str]:
    """What tells each record from others of its identifier and model, by identity."""
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        same[entry.record.labels.model_dump_json(exclude={"model_label", "target"})].append(entry)
    found = {}
    for group in same.values():
        variants = [
            Variant(
                {k: entry.record.inputs.get(k) for k in ("identifier", "model", "engine")}, None, (entry.run,)
            )
            for entry in group
        ]
        for entry, words in zip(group, tell_apart(variants), strict=True):
            shown = variation(entry.record.labels.identifier_params)
            found[entry.record.identity] = ", ".join(filter(None, (shown, words)))
    return found


def _columns(lines: Sequence[Line]) -> list[tuple[Metric | None, ...]]:
    return list(zip(*(line.metrics for line in lines), strict=True))


def _suffixes(record: CellRecord) -> tuple[str, ...]:
    return ("", TUNED) if f"threshold{TUNED}" in record.metrics else ("",)


def _line(record: CellRecord, variation: str, suffix: str, columns: Mapping[str, str]) -> Line:
    metrics = record.metrics
    threshold = metrics.get(f"threshold{suffix}")
    cut = f"threshold {threshold.value:.3g}" if threshold is not None and threshold.value is not None else ""
    return Line(
        record=record,
        variation=variation,
        cut=cut + " from dev" * bool(suffix),
        metrics=tuple(metrics.get(name + suffix, metrics.get(name)) for name in columns),
        rate=_rate(record),
        flags=flags([record], record.headline or "f1"),
    )


def _order(record: CellRecord, variation: str) -> tuple[str, str, str, int]:
    labels = record.labels
    return labels.identifier or "", variation, labels.model, labels.seed


def _rate(record: CellRecord) -> float | None:
    milliseconds = record.tokens.get("timed_ms", 0)
    return 1000 * record.tokens["timed_examples"] / milliseconds if milliseconds else None
