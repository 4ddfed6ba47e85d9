"""Identifiers against gold spans: charts, and one row per record and threshold in tables of a few columns."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perbench.contracts.chart import Chart
from perbench.contracts.results import Entry, Loaded, Matrix
from perbench.contracts.section import Block, ColumnHead, Reading, RowHead, Samples, Section, Table, Value
from perbench.progress import duration
from perbench.site.apart import Namesake, tell_apart
from perbench.site.columns import ASKED, ColumnKey, columns_of, told_apart
from perbench.site.flags import flags
from perbench.site.format import digits_for, natural, number, variation
from perbench.site.values import value_of
from perbench.store import CellRecord
from perbench.text.marks import KINDS

from .charts import by_kind, precision_and_recall, rate_of, speed
from .pairs import ranks_of

TUNED, OWN = "_tuned", "each response's own"
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
THRESHOLD = re.compile(r"\|score>[^|]*")
"""In a signature; it is the identifier's, as the row says."""
SPEED = "Time is the whole cell's, speed that of scoring alone."
RANKED = "Ranks are those that tests of all pairs leave, by F1 and apart by threshold. "
TIMED = (ColumnHead("samples", minor=True), ColumnHead("time"), ColumnHead("examples/s"))


class IdentificationSection(Section):
    title = "Identification of personal tokens"
    order = 30

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        return [block for found in _held(loaded) for block in _blocks(*found)]

    def verdict(self, loaded: Loaded, matrix: Matrix) -> Sequence[str]:
        found = _held(loaded)
        return [line for one in found for line in _answer(*one, len(found) > 1)]

    def reading(self, cells: Sequence[tuple[CellRecord, Samples]]) -> Reading | None:
        if any(record.kind != "identify" for record, _ in cells):
            return None
        from .reading import SpansReading

        return SpansReading(cells)


def _held(loaded: Loaded) -> list[tuple[str, str, Sequence[Entry]]]:
    """Identifications by target and data, in order: the target, the words that tell it apart, the entries."""
    chosen = [entry for entry in loaded.entries if entry.record.kind == "identify"]
    places = columns_of(chosen, (*ASKED, "dev"))
    held: dict[ColumnKey, list[Entry]] = defaultdict(list)
    for entry in chosen:
        place = places[entry.record.identity]
        held[replace(place, signature=THRESHOLD.sub("", place.signature))].append(entry)
    apart = told_apart(held)
    order = sorted(held, key=lambda place: (natural(place.target), natural(apart[place])))
    return [(place.target, apart[place], held[place]) for place in order]


def _blocks(target: str, apart: str, entries: Sequence[Entry]) -> Iterator[Block]:
    variations = _variations(entries)
    ordered = sorted(entries, key=lambda entry: _order(entry.record, variations[entry.record.identity]))
    kinds = _kinds(name for entry in entries for name in entry.record.metrics)
    quality, *others = _tables(target, apart, ordered, variations)
    models = list(dict.fromkeys(entry.record.labels.model for entry in ordered))
    drawn: list[list[Chart]] = [[], [], []]
    for model in models:
        named = [
            (_name(entry.record, variations[entry.record.identity]), entry)
            for entry in ordered
            if entry.record.labels.model == model
        ]
        words = " · ".join(filter(None, (apart, model if len(models) > 1 else "")))
        place = (target, words)
        drawn[0] += precision_and_recall(named, place)
        drawn[1] += by_kind(named, kinds, place)
        drawn[2] += speed(named, place)
    return iter([*drawn[0], quality, *drawn[1], *others, *drawn[2]])


def _kinds(names: Iterable[str]) -> list[str]:
    """The metrics among `names` that are recall of a kind of span."""
    found = set(names)
    return [name for kind in KINDS if (name := f"recall_{kind}") in found]


def _name(record: CellRecord, variation: str) -> str:
    return " ".join(filter(None, (record.labels.identifier or "unnamed", variation)))


def _answer(target: str, apart: str, entries: Sequence[Entry], several: bool) -> Iterator[str]:
    """What the tests of all pairs of identifiers show, at either threshold."""
    variations = _variations(entries)
    entries = sorted(entries, key=lambda entry: _order(entry.record, variations[entry.record.identity]))
    models = {entry.record.labels.model for entry in entries}
    names = {}
    for record in (entry.record for entry in entries):
        model = f" on {record.labels.model}" if len(models) > 1 else ""
        names[record.identity] = _name(record, variations[record.identity]) + model
    where = f" of {' · '.join(filter(None, (target, apart)))}" if several else ""
    for suffix in ("", TUNED):
        found = ranks_of(entries, suffix)
        if not found.tested:
            continue
        how = f"{found.examples:,} examples{where}{', with the threshold from dev' if suffix else ''}"
        best = {names[one]: last for one, (first, last) in found.ranks.items() if first == 1}
        if not found.separated:
            yield f"No identifier can be told from another by F1 on {how}."
        elif list(best.values()) == [1]:
            yield f"{next(iter(best))} has the highest F1 of {len(found.ranks)} identifiers on {how}."
        else:
            who = " or ".join(filter(None, (", ".join([*best][:-1]), [*best][-1])))
            yield f"{who} may have the highest F1 of {len(found.ranks)} identifiers on {how}."


def _tables(target: str, apart: str, entries: Sequence[Entry], variations: Mapping[str, str]) -> list[Table]:
    """The entries in order."""
    records = [entry.record for entry in entries]
    names = {name.removesuffix(TUNED) for record in records for name in record.metrics}
    kinds = _kinds(names)
    where = {**{name: name.removeprefix("recall_") for name in kinds}, **WHERE}
    plans = [
        ("Personal tokens against gold spans", QUALITY, True),
        ("Recall by kind of span, and shares predicted falsely", where, False),
        ("F1 by unit and rule", LEVELS, False),
    ]
    lines = [(record, suffix) for record in records for suffix in _suffixes(record)]
    heads = [_head(record, variations[record.identity], suffix) for record, suffix in lines]
    ranks = {suffix: ranks_of(entries, suffix).ranks for suffix in ("", TUNED)}
    ranked = [_rank(ranks[suffix].get(record.identity)) for record, suffix in lines]
    tables = []
    for caption, columns, timed in plans:
        if timed or names & (columns.keys() - {"f1"}):
            shown = {name: heading for name, heading in columns.items() if name in names}
            measured = [[_value(record, name, suffix) for record, suffix in lines] for name in shown]
            values: list[Sequence[Value | str]] = [_aligned(column) for column in measured]
            first = (ColumnHead("rank"),) if timed and any(ranks.values()) else ()
            if first:
                values.insert(0, ranked)
            if timed:
                values += zip(*(_timed(record, bool(shown)) for record, _ in lines), strict=True)
            table = Table(
                caption=caption,
                first="identifier",
                columns=(*first, *map(ColumnHead, shown.values()), *(TIMED if timed else ())),
                rows=tuple(zip(heads, zip(*values, strict=True), strict=True)),
                target=target,
                apart=apart,
                explanation=(RANKED * bool(first) + SPEED) if timed else "",
                remarks=(*_checked(records), *_remarks(records, variations)) if timed else (),
            )
            tables.append(table)
    return tables


def _checked(records: Sequence[CellRecord]) -> Iterator[str]:
    """How many gold spans a person has checked, by the latest record that says so."""
    counted = [record.counts for record in sorted(records, key=lambda record: record.finished)]
    for counts in [one for one in counted if "gold_spans" in one][-1:]:
        checked, spans = counts.get("gold_spans_checked", 0), counts["gold_spans"]
        yield f"a person has checked {checked:,} of the {spans:,} gold spans"


def _variations(entries: Sequence[Entry]) -> dict[str, str]:
    """What distinguishes each record from others of its identifier and model, by identity."""
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        same[entry.record.labels.model_dump_json(exclude={"model_label", "target"})].append(entry)
    found = {}
    for group in same.values():
        variants = [
            Namesake(
                {k: entry.record.inputs.get(k) for k in ("identifier", "model", "engine")}, None, (entry.run,)
            )
            for entry in group
        ]
        for entry, words in zip(group, tell_apart(variants), strict=True):
            shown = variation(entry.record.labels.identifier_params)
            found[entry.record.identity] = ", ".join(filter(None, (shown, words)))
    return found


def _suffixes(record: CellRecord) -> tuple[str, ...]:
    return ("", TUNED) if f"threshold{TUNED}" in record.metrics else ("",)


def _head(record: CellRecord, variation: str, suffix: str) -> RowHead:
    """`detail` names the threshold; empty if the record has none."""
    labels, threshold = record.labels, record.metrics.get(f"threshold{suffix}")
    cut = ""
    if threshold is not None and threshold.value is not None:
        by_answer = " by answer, mean" * (OWN in threshold.signature)
        cut = f"threshold{by_answer} {threshold.value:.3g}"
    return RowHead(
        name=labels.identifier or "unnamed",
        variation=variation,
        detail=cut + " from dev" * bool(suffix),
        model=labels.model,
        model_label=labels.model_label,
        seed=labels.seed,
        flags=flags([record], record.headline or "f1"),
    )


def _value(record: CellRecord, name: str, suffix: str) -> Value:
    """The value at the row's threshold, if the metric depends on it. Flags belong to the row."""
    chosen = name + suffix if name + suffix in record.metrics else name
    return replace(value_of([record], chosen), flags=(), aside="")


def _aligned(column: Sequence[Value]) -> list[Value]:
    digits = digits_for(value.value for value in column)
    return [replace(value, digits=digits) for value in column]


def _rank(found: tuple[int, int] | None) -> Value | str:
    """ "1–3"."""
    if found is None:
        return "—"
    return Value(found[0], text="–".join(map(str, dict.fromkeys(found))), better=None)


def _timed(record: CellRecord, measured: bool) -> tuple[Value | str, ...]:
    """Samples, time and speed: examples per second of scoring alone, without loading."""
    count, rate = record.counts.get("samples"), rate_of(record)
    failed = Value(text="failed", records=(record,)) if record.status == "failed" and not measured else "—"
    return (
        failed if count is None else Value(count, text=str(count)),
        Value(record.seconds, text=duration(record.seconds)),
        "—" if rate is None else Value(rate, text=number(rate, 1)),
    )


def _remarks(records: Sequence[CellRecord], variations: Mapping[str, str]) -> tuple[str, ...]:
    """The notes of all records, each with the identifiers it concerns."""
    named: dict[str, list[str]] = defaultdict(list)
    for record in records:
        name = " ".join(filter(None, (record.labels.identifier or "unnamed", variations[record.identity])))
        for note in record.notes:
            named[note].append(name)
    return tuple(sorted(f"{note} ({', '.join(dict.fromkeys(who))})" for note, who in named.items()))


def _order(record: CellRecord, variation: str) -> tuple[Any, ...]:
    labels = record.labels
    return labels.identifier or "", natural(variation), natural(labels.model), labels.seed
