"""What no run could have written: values of a published file that are impossible or contradict each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from perbench.console.printing import printable
from perbench.disk.digests import canonical_digest
from perbench.disk.masking import without_paths
from perbench.disk.sealed import DIGEST
from perbench.published.labels import label_faults
from perbench.published.read import AGAIN, LARGEST, FileFault, shown
from perbench.published.shape import Published, PublishedCell
from perbench.store.record import CellRecord, Metric, Scores

LONGEST_NAME = 1000
SKEW = timedelta(days=1)
"""How far clocks may differ."""
RESCORE = "run `perbench rescore RUN`, then publish again"
INPUTS = {"source": ("name",), "target": ("name", "protocol")}
"""What the inputs must say of a task."""
Found = Iterator[tuple[str, str, str]]
"""Key below the cell, fault, way out."""


def faults_of(found: Published, now: datetime | None = None) -> Iterator[FileFault]:
    """All faults, for a file whose form is right (`read.whole`)."""
    now = now or datetime.now(UTC)
    for place, cell in found.placed:
        for key, what, way_out in _cell(cell, found.training_of(cell), now):
            yield FileFault(f"{place}.{key}", what, way_out)
    for name in {cell.run for _, cell in found.placed} | set(found.matrices):
        if _odd(name):
            yield FileFault("run", f"{shown(name)} is not a name that can be read", AGAIN)
    for name, part in found.matrices.items():
        for number, row in enumerate(part.targets):
            if isinstance(row, dict) and not isinstance(row.get("task"), str):
                yield FileFault(f"matrices.{name}.targets[{number}].task", "names no task", AGAIN)


def _cell(cell: PublishedCell, training: CellRecord | None, now: datetime) -> Found:
    record, scores = cell.record, cell.scores
    for name, value in record.labels.model_dump().items():
        if isinstance(value, str) and _odd(value):
            yield f"record.labels.{name}", f"{shown(value)} is not a name that can be read", AGAIN
    for key, what in label_faults(record, training):
        yield f"record.{key}", what, AGAIN
    yield from _kind(record)
    yield from _outcome(cell)
    yield from _times(record, now)
    yield from _counts(record, scores)
    for name, metric in record.metrics.items():
        for key, what, way_out in _metric(metric):
            yield f"record.metrics.{name}{key}", what, way_out
    if scores is not None:
        yield from _scores(record, scores)
    yield from _samples(cell)
    for key, text in _texts(record):
        if without_paths(text) != text:
            yield f"record.{key}", f"{shown(text)} holds a path of a machine", AGAIN


def _odd(name: str) -> bool:
    """Whether a name is empty, very long, or holds invisible characters or line ends."""
    return not name.strip() or len(name) > LONGEST_NAME or printable(name) != name or not name.isprintable()


def _kind(record: CellRecord) -> Found:
    labels = record.labels
    needed = {"train": ("trainer", "source"), "eval": ("target",), "identify": ("target", "identifier")}
    barred = {"train": ("target", "identifier"), "eval": ("identifier",), "identify": ("trainer", "source")}
    for name in needed[record.kind]:
        if getattr(labels, name) is None:
            yield f"record.labels.{name}", f"null in a cell of kind {record.kind}", AGAIN
    for name in barred[record.kind]:
        if (value := getattr(labels, name)) is not None:
            yield f"record.labels.{name}", f"{shown(value)} in a cell of kind {record.kind}", AGAIN
    part = "source" if record.kind == "train" else "target"
    named = record.inputs.get(part)
    if not isinstance(named, dict) or not all(isinstance(named.get(key), str) for key in INPUTS[part]):
        yield f"record.inputs.{part}", f"{shown(named)} does not say {' and '.join(INPUTS[part])}", AGAIN
    if not isinstance(version := record.inputs.get("version"), int):
        yield "record.inputs.version", f"{shown(version)} is not a number", AGAIN
    if record.kind == "eval" and (labels.trainer is None) != (record.trained_by is None):
        yield "record.trained_by", f"{shown(record.trained_by)}, with trainer {shown(labels.trainer)}", AGAIN


def _outcome(cell: PublishedCell) -> Found:
    """What a finished and what a failed cell must hold."""
    record = cell.record
    done = record.status == "done"
    evaluated = done and record.kind != "train"
    if done == (record.error is not None):
        yield (
            "record.error",
            f"{shown(record.error and record.error.type)} in a cell that is {record.status}",
            AGAIN,
        )
    if evaluated == (cell.scores is None):
        yield "scores", f"{'missing' if evaluated else 'given'} in a cell that is {record.status}", AGAIN
    if record.metrics and not evaluated:
        yield "record.metrics", f"{shown(sorted(record.metrics))} in a cell that is {record.status}", AGAIN
    absent = any(note.startswith(f"metric {record.headline} absent") for note in record.notes)
    if evaluated and record.headline not in record.metrics and not absent:
        yield "record.headline", f"{shown(record.headline)} is not among the metrics", AGAIN
    for name in record.better:
        if name not in record.metrics:
            yield f"record.better.{name}", "of a metric that is not there", AGAIN


def _times(record: CellRecord, now: datetime) -> Found:
    at = {}
    for name in ("started", "finished"):
        try:
            at[name] = datetime.fromisoformat(getattr(record, name))
        except ValueError:
            at[name] = datetime.min
        if at[name].tzinfo is None:
            yield f"record.{name}", f"{shown(getattr(record, name))} is not a time with its zone", AGAIN
            return
        if at[name] > now + SKEW:
            yield f"record.{name}", f"{shown(getattr(record, name))} is in the future", AGAIN
    if at["finished"] < at["started"]:
        yield "record.finished", f"{shown(record.finished)} is before the start, {record.started}", AGAIN


def _counts(record: CellRecord, scores: Scores | None) -> Found:
    numbers: Mapping[str, Any] = {
        "seconds": record.seconds,
        "peak_memory_mb": record.peak_memory_mb,
        **{f"counts.{name}": value for name, value in record.counts.items()},
        **{f"tokens.{name}": value for name, value in record.tokens.items()},
        **{
            f"endpoints.{name}.{key}": value
            for name, use in record.endpoints.items()
            for key, value in use.model_dump().items()
            if isinstance(value, (int, float))
        },
    }
    for key, value in numbers.items():
        if value is not None and value < 0:
            yield f"record.{key}", f"{value} is negative", AGAIN
    for place, point in enumerate(record.training_log):
        if "step" not in point:
            yield f"record.training_log[{place}].step", "missing", AGAIN
    samples = record.counts.get("samples")
    if samples is None:
        return
    for name in ("truncated", "empty"):
        if record.counts.get(name, 0) > samples:
            yield f"record.counts.{name}", f"{record.counts[name]} of {samples} samples", AGAIN
    if scores is not None and len(scores.ids) > samples:
        yield "record.counts.samples", f"{samples}, but {len(scores.ids)} have scores", AGAIN


def _metric(metric: Metric) -> Found:
    low, high = (
        bound if bound is not None else end
        for bound, end in zip(metric.bounds or (None, None), (-math.inf, math.inf), strict=True)
    )
    if not low < high:
        yield ".bounds", f"{shown(metric.bounds)}: the lowest value is not below the highest", AGAIN
        return
    for key, value in (("value", metric.value), *(("ci", end) for end in metric.ci or ())):
        if value is not None and not low - 1e-9 <= value <= high + 1e-9:
            yield f".{key}", f"{value} is outside the metric's range, {low:g} to {high:g}", AGAIN
    if metric.ci is not None:
        if metric.value is None or not metric.ci[0] - 1e-9 <= metric.value <= metric.ci[1] + 1e-9:
            yield ".ci", f"{shown(metric.ci)} does not hold the value, {metric.value}", AGAIN
        if metric.ci_method is None:
            yield ".ci_method", "missing: an interval of an older perbench, or of a metric's own", RESCORE
    for key, count in (("n", metric.n), ("missing", metric.missing), ("users", metric.users or 0)):
        if count < 0:
            yield f".{key}", f"{count} is negative", AGAIN
    if (metric.users or 0) > metric.n >= 0:
        yield ".users", f"{metric.users} users of {metric.n} samples", AGAIN
    if metric.value is not None and metric.n == 0:
        yield ".value", f"{metric.value} of no sample", AGAIN
    if any(count < 1 for count in metric.why.values()) or sum(metric.why.values()) > metric.missing:
        yield ".why", f"{shown(metric.why)} for {metric.missing} missing scores", AGAIN
    for place, turn in enumerate(metric.by_turn):
        if turn.turn < 1 or turn.n < 0:
            yield f".by_turn[{place}]", f"turn {turn.turn} with {turn.n} samples", AGAIN


def _scores(record: CellRecord, scores: Scores) -> Found:
    for name, column in scores.scores.items():
        low, high = (record.metrics[name].bounds if name in record.metrics else None) or (None, None)
        for sample, value in zip(scores.ids, column, strict=True):
            if value is not None and (
                (low is not None and value < low - 1e-9) or (high is not None and value > high + 1e-9)
            ):
                yield (
                    f"scores.scores.{name}",
                    f"{value} of sample {shown(sample)} is outside the metric's range",
                    AGAIN,
                )
                break

    for name, rows in scores.sums.items():
        widths = {len(row) for row in rows if row is not None}
        if len(widths) > 1 or 0 in widths:
            yield f"scores.sums.{name}", f"rows of {shown(sorted(widths))} numbers", AGAIN
        if large := [value for row in rows for value in row or () if abs(value) > LARGEST]:
            yield f"scores.sums.{name}", f"{large[0]} is too large to be exact", AGAIN


def _samples(cell: PublishedCell) -> Found:
    for place, digest in enumerate(cell.digests):
        if not DIGEST.fullmatch(digest):
            yield f"digests[{place}]", f"{shown(digest)} is not a sha256", AGAIN
    if cell.samples is None:
        if cell.digests and cell.scores is not None and len(cell.digests) < len(cell.scores.ids):
            yield "digests", f"{len(cell.digests)}, but {len(cell.scores.ids)} samples have scores", AGAIN
        return
    if len(cell.samples) != len(cell.digests):
        yield "digests", f"{len(cell.digests)} for {len(cell.samples)} samples", AGAIN
    for place, (sample, digest) in enumerate(zip(cell.samples, cell.digests, strict=False)):
        if canonical_digest([cell.record.identity, place, sample]) != digest:
            yield f"digests[{place}]", f"{shown(digest)} is not the digest of samples[{place}]", AGAIN
    ids = Counter(str(sample.get("id")) for sample in cell.samples)
    twice = [name for name, count in ids.items() if count > 1]
    if twice:
        yield "samples", f"sample {shown(twice[0])} is there {ids[twice[0]]} times", AGAIN
    absent = [name for name in (cell.scores.ids if cell.scores is not None else ()) if name not in ids]
    if absent:
        yield "samples", f"sample {shown(absent[0])} has scores, but is missing", AGAIN


def _texts(record: CellRecord) -> Iterator[tuple[str, str]]:
    """The texts that may hold paths, which `add` replaces."""
    yield "command", record.command
    for name in ("notes", "run_notes"):
        yield from ((f"{name}[{place}]", note) for place, note in enumerate(getattr(record, name)))
    if record.error is not None:
        yield "error.message", record.error.message
        yield "error.traceback", record.error.traceback
