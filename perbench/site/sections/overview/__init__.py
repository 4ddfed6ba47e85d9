"""The methods of each model: ranks, mean gains by kind of task, cost of training, how much was run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from perbench.contracts.results import Flag, Loaded, Matrix, ModelRow, interval_aside
from perbench.contracts.section import ColumnHead, RowHead, Section, Table, Value
from perbench.progress import counted
from perbench.site.cost import Cost, cost
from perbench.site.format import day
from perbench.site.means import MeanGain, Standing, TaskKind, kinds_of, standings
from perbench.site.rows import ON_TEST

UNEVEN = "range below a time: single trainings; other work on the machine may have slowed some"
ARROWS = {"higher": "↑", "lower": "↓"}
UNRANKED = "too few users for any test between methods"


class Overview(Section):
    title = "Methods"
    order = 5
    page = "index"

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        kinds = kinds_of(matrix)
        found = standings(matrix, kinds) if kinds else []
        if all(one.baseline for one in found):
            return []
        over = f"of {matrix.baseline}'s"
        names = _names(kinds)
        columns = (
            ColumnHead("Rank", metric=f"in {names[0]}"),
            *(
                ColumnHead(
                    name[:1].upper() + name[1:], metric=f"mean gain, {_short(kind)} {ARROWS[kind.better]}"
                )
                for name, kind in zip(names, kinds, strict=True)
            ),
            ColumnHead("Time", metric=over),
            ColumnHead("Tokens", metric=over),
            ColumnHead("Tasks", metric="scored"),
            ColumnHead("Newest", metric="record", minor=True),
        )
        rows = tuple((_head(one), _values(one, kinds, matrix)) for one in found)
        caption = f"Mean gain over {matrix.baseline}"
        explained = _explained(names[0], found)
        return [Table(caption, "method", columns, rows, explanation=explained, summary=True)]


def _names(kinds: Sequence[TaskKind]) -> list[str]:
    """ "writing", with the metric where two kinds would have one name."""
    metrics = [_short(kind) for kind in kinds]
    titles = [kind.title or metric for kind, metric in zip(kinds, metrics, strict=True)]
    return [
        title if titles.count(title) == 1 else f"{title}, {metric}"
        for title, metric in zip(titles, metrics, strict=True)
    ]


def _short(kind: TaskKind) -> str:
    """The metric without its unit."""
    return kind.metric.partition(",")[0]


def _explained(first: str, found: Sequence[Standing]) -> str:
    ranked = [mean for one in found for mean in one.means[:1] if mean.rank is not None]
    single = any(mean.estimate is not None and mean.estimate.seeds == 1 for mean in ranked)
    ranks = (
        f" Ranks in {first}{', for these trained models' * single}: a range where tests leave the order open."
    )
    none = f" No ranks: {UNRANKED}."
    return f"By kind of task, over all sources and targets, with 95% intervals.{ranks if ranked else none}"


def _head(one: Standing) -> RowHead:
    row = one.row
    group = tuple(str(part) for part in one.group)
    return RowHead(
        row.trainer or "",
        one.variation or ("chosen on validation" if row.chosen_on == "val" else ""),
        model=row.model,
        model_label=row.model_label,
        flags=_flags(one.rows),
        group=group,
    )


def _flags(rows: Sequence[ModelRow]) -> tuple[Flag, ...]:
    """Of a method that has a row per source."""
    grave = [row for row in rows if row.flags]
    if not grave:
        return ()
    axes = ", ".join(dict.fromkeys(axis for row in grave for axis in json.loads(row.chosen)))
    text = f"{axes} {ON_TEST}: biased upward"
    return (replace(grave[0].flags[0], text=text),)


def _values(one: Standing, kinds: Sequence[TaskKind], matrix: Matrix) -> tuple[Value, ...]:
    found = cost(one.rows, matrix)
    means = zip(one.means, kinds, strict=True)
    return (
        _rank(one.means[0]),
        *(_mean(mean, kind, one.baseline) for mean, kind in means),
        replace(_times(found.seconds, found.why), n=found.trainings or None, flags=_uneven(found)),
        _times(found.tokens, "" if found.tokens else "not recorded"),
        Value(
            float(one.done),
            text=f"{one.done} of {one.planned}",
            digits=0,
            missing=one.planned - one.done,
            better=None,
        ),
        _newest(one, matrix),
    )


def _rank(mean: MeanGain) -> Value:
    if mean.rank is None:
        return Value(text="–", aside=UNRANKED)
    best, worst = mean.rank
    ranks = "–".join(map(str, dict.fromkeys(mean.rank)))
    return Value(float(best), text=ranks, digits=0, rank=(best, worst), better=None)


def _mean(mean: MeanGain, kind: TaskKind, baseline: bool) -> Value:
    gain = mean.estimate
    if baseline:
        return Value(0.0, text="baseline", versus="baseline", rank=mean.rank, better=kind.better)
    if gain is None or gain.value is None:
        return Value(text="–", aside="no gain", rank=mean.rank, better=kind.better)
    aside = interval_aside(gain.ci, gain.users, gain.n if gain.spread is not None else 0)
    return Value(
        value=gain.value,
        ci=gain.ci,
        ci_aside=aside,
        digits=kind.digits,
        aside=f"{mean.gains} of {counted(mean.of, 'gain')} in {kind.metric}",
        n=gain.n,
        versus="gain",
        gain=gain,
        is_gain=True,
        rank=mean.rank,
        better=kind.better,
    )


def _times(ratio: float | None, why: str) -> Value:
    if ratio is None:
        return Value(text="–", aside=why, better=None)
    return Value(ratio, text=f"{ratio:.2f}×", digits=2, better=None)


def _uneven(found: Cost) -> tuple[Flag, ...]:
    if found.ends is None or not found.uneven:
        return ()
    ends = " to ".join(f"{ratio:.2f}×" for ratio in found.ends)
    text = f"{ends} in {found.trainings} trainings: other work on the machine may be the cause"
    return (Flag(text, ends, UNEVEN),)


def _newest(one: Standing, matrix: Matrix) -> Value:
    cells = dict(matrix.rows)
    records = [
        record
        for row in one.rows
        for held in (matrix.trained.get(row, ()), *(outcome.records for outcome in cells[row]))
        for record in held
    ]
    newest = max((record.finished for record in records), default="")
    digits = newest[:10].replace("-", "")
    return Value(float(digits) if digits.isdecimal() else None, text=day(newest), digits=0, better=None)
