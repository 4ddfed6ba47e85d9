"""Values of a section's tables, from records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from perbench.contracts.results import Outcome, TargetColumn, interval_aside
from perbench.contracts.section import Value
from perbench.site.flags import flags
from perbench.site.format import digits_for, part_of
from perbench.site.matrix import better_of
from perbench.stats.paired import Estimate
from perbench.store import CellRecord


def value_of(records: Sequence[CellRecord], metric: str, digits: int | None = None) -> Value:
    """A metric over records that differ only in their seeds, with flags. Several are averaged, without an
    interval; failed and missing cells are marked."""
    done = [record for record in records if record.status == "done" and metric in record.metrics]
    if not done:
        return absent(records)
    metrics = [record.metrics[metric] for record in done]
    values = [one.value for one in metrics if one.value is not None]
    return Value(
        value=fmean(values) if values else None,
        ci=metrics[0].ci if len(metrics) == 1 else None,
        ci_aside=interval_aside(metrics[0].ci, metrics[0].users) if len(metrics) == 1 else "",
        digits=digits_for(values) if digits is None else digits,
        text="" if values else "no score",
        n=sum(one.n for one in metrics),
        missing=sum(one.missing for one in metrics),
        flags=flags(done, metric),
        records=tuple(done),
        better=better_of(done, metric),
    )


def outcome_value(outcome: Outcome, column: TargetColumn) -> Value:
    """The headline of a model on a target, with its gain and rank."""
    mean = outcome.mean
    if mean is None:
        return replace(absent(outcome.records), own=outcome.own)
    return Value(
        value=mean.value,
        ci=mean.ci,
        ci_aside=mean.aside,
        digits=column.digits,
        text="no score" if mean.value is None else "",
        n=mean.n,
        missing=mean.missing,
        flags=mean.flags,
        records=outcome.records,
        versus=outcome.versus,
        gain=outcome.gain,
        rank=outcome.rank,
        better=column.better,
        own=outcome.own,
    )


def of_one_seed(gains: Iterable[Estimate]) -> list[str]:
    """What the tests of these gains do not show; nothing if all cover training seeds."""
    tested = [gain for gain in gains if gain.adjusted is not None]
    single = sum(gain.seeds == 1 for gain in tested)
    if not single:
        return []
    rests = f"{part_of(single, len(tested), 'test')} {'rests' if single == 1 else 'rest'} on 1 seed"
    return [f"{rests}: other trainings may come out otherwise."]


def at_turn(mean: Value, metric: str, turn: int) -> Value:
    """The value at one turn of dialogues, of what `value_of` returns; without links and flags."""
    per_record = [record.metrics[metric].by_turn for record in mean.records if metric in record.metrics]
    found = [one for by_turn in per_record for one in by_turn if one.turn == turn]
    scored = [one.value for one in found if one.value is not None]
    return Value(
        value=fmean(scored) if scored else None,
        ci=found[0].ci if len(found) == 1 else None,
        digits=mean.digits,
        text="" if scored else mean.text or "no score",
        n=sum(one.n for one in found),
    )


def absent(records: Sequence[CellRecord]) -> Value:
    """The entry for a missing value: "no score" if a cell is done, else "failed" or "no record"."""
    done = [record for record in records if record.status == "done"]
    if done or not records:
        return Value(text="no score" if done else "no record", records=tuple(done))
    error = records[0].error
    aside = error.type if error is not None else "no error recorded"
    return Value(text="failed", aside=aside, records=tuple(records))
