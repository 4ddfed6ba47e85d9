"""The transfer matrix: trained models (rows) on target tasks (columns), with gains and ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Literal

import numpy as np

from perbench.contracts.results import (
    Entry,
    Loaded,
    Matrix,
    Mean,
    ModelRow,
    Outcome,
    Paired,
    TargetColumn,
    interval_aside,
)
from perbench.errors import PerbenchError
from perbench.published.follows import protocol_of, statistic_of
from perbench.site.columns import ColumnKey, columns_of, told_apart
from perbench.site.flags import flags
from perbench.site.format import digits_for, natural
from perbench.site.naming import metric_title, task_title
from perbench.site.rows import Baselines, order, rows_of
from perbench.specs.rows import own_targets, task_of
from perbench.stats.paired import ALPHA, Aligned, Estimate, Method, Sampled, holm_adjusted
from perbench.stats.spread import rank_ranges
from perbench.store import CellRecord
from perbench.store.record import Better

FEWEST_RANKED, MOST_RANKED = 3, 300
"""For two models the gain is enough. Of 300, Holm's correction over 44,850 pairs leaves ranges as wide as the
table."""


@dataclass
class _Group:
    """Entries of one row and column, by seed."""

    entries: list[Entry] = field(default_factory=list)

    def done(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.record.status == "done"]


def matrix_of(loaded: Loaded) -> Matrix:
    """
    Raises:
        PerbenchError: two cells of one target hold the same sample under different users, or two records of
            one seed are indistinguishable.
    """
    entries = [entry for entry in loaded.results if entry.record.kind == "eval"]
    rows_by = rows_of(loaded)
    places = columns_of(entries)
    groups: dict[tuple[ModelRow, ColumnKey], _Group] = defaultdict(_Group)
    held: dict[ColumnKey, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.record.labels.seed):
        row, place = rows_by[entry.record.identity], places[entry.record.identity]
        groups[row, place].entries.append(entry)
        held[place].append(entry)
    _check_seeds(groups.values())
    rows = sorted(set(rows_by.values()), key=lambda row: order(row, loaded.baseline))
    bases = Baselines(rows, loaded.baseline)
    apart = told_apart(held)
    planned = _profiles(held, loaded)
    order_of = sorted(
        apart, key=lambda place: (task_of(place.target), natural(place.target), natural(apart[place]))
    )
    found, paired = {}, []
    for key in order_of:
        elsewhere = _elsewhere(key, apart, loaded.baseline_target)
        found[key], scores = _outcomes(key, groups, rows, bases, elsewhere)
        paired.append(scores)
    gains = [one.gain for outcomes in found.values() for one in outcomes if one.gain is not None]
    tests = sum(gain.p is not None for gain in gains)
    adjusted = iter(holm_adjusted(gains))
    for key, outcomes in found.items():
        found[key] = [one if one.gain is None else replace(one, gain=next(adjusted)) for one in outcomes]
    table = [(row, tuple(found[key][place] for key in order_of)) for place, row in enumerate(rows)]
    columns = tuple(
        _column(
            key,
            apart[key],
            planned.get(key, ""),
            [outcomes[i] for _, outcomes in table],
            tests,
            len(paired[i].places),
        )
        for i, key in enumerate(order_of)
    )
    return Matrix(
        columns,
        tuple(table),
        loaded.baseline,
        _unrecorded(loaded),
        tuple(paired),
        _trained(loaded, rows_by),
        sparse=any(map(own_targets, loaded.matrices)),
    )


def _trained(loaded: Loaded, rows_by: Mapping[str, ModelRow]) -> dict[ModelRow, tuple[CellRecord, ...]]:
    held: dict[ModelRow, list[CellRecord]] = defaultdict(list)
    for entry in sorted(loaded.results, key=lambda entry: entry.record.labels.seed):
        if entry.record.kind == "train":
            held[rows_by[entry.record.identity]].append(entry.record)
    return {row: tuple(records) for row, records in held.items()}


def _check_seeds(groups: Iterable[_Group]) -> None:
    for group in groups:
        seeds = [entry.record.labels.seed for entry in group.entries]
        twice = next((entry for entry in group.entries if seeds.count(entry.record.labels.seed) > 1), None)
        if twice is not None:
            labels = twice.record.labels
            raise PerbenchError(
                f"run {twice.run} holds two records of {labels.trainer or labels.model} on {labels.target}, "
                f"seed {labels.seed}, without the records of their trainings; delete one of them, such as "
                f"cells/eval-{twice.record.identity[:16]}, or run its matrix again"
            )


def _outcomes(
    key: ColumnKey,
    groups: Mapping[tuple[ModelRow, ColumnKey], _Group],
    rows: Sequence[ModelRow],
    bases: Baselines,
    elsewhere: ColumnKey | None = None,
) -> tuple[list[Outcome], Paired]:
    """A column: each row's value, its gain over its baseline row, and its rank; and the scores behind it. The
    baseline's values are those of the column `elsewhere`, if given."""
    headline = key.headline or ""
    done = {row: groups[row, key].done() if (row, key) in groups else [] for row in rows}
    methods = {
        row: method
        for row, entries in done.items()
        if (method := method_of(entries, headline, row.trainer is not None)) is not None
    }
    places = {row: place for place, row in enumerate(methods)}
    try:
        table = Aligned(list(methods.values()))
    except ValueError as error:
        raise PerbenchError(
            f"{key.target}: {error}; the runs hold different data under one digest: build a page for each run"
        ) from None
    values = dict(zip(places, table.estimates([(place,) for place in places.values()]), strict=True))
    against = [(row, base) for row in places if (base := bases.of(row)) in places and base != row]
    pairs = [(places[row], places[base]) for row, base in against]
    gains = dict(zip([row for row, _ in against], table.estimates(pairs), strict=True))
    means = {
        row: _mean(entries, headline, values.get(row))
        for row, entries in done.items()
        if entries and headline
    }
    records = [entry.record for entries in done.values() for entry in entries]
    ranks = _ranks(table, better_of(records, headline))
    found = []
    for row in rows:
        own = row.source is not None and task_of(row.source) == task_of(key.target)
        entries = groups[row, key].entries if (row, key) in groups else []
        failed = [entry for entry in entries if entry.record.status == "failed"]
        made = Outcome(
            "done" if done[row] else "failed" if failed else "no record",
            tuple(entry.record for entry in done[row] + failed),
            means.get(row),
            rank=ranks.get(places.get(row, -1)),
            own=own,
        )
        base = bases.of(row)
        if base is not None and elsewhere is not None and made.mean is not None:
            other = groups[base, elsewhere].done() if (base, elsewhere) in groups else []
            other_gain = _gain(done[row], made.mean, other, headline)
            found.append(replace(made, versus="gain" if other_gain else "none", gain=other_gain))
            continue
        if base == row and made.mean is not None:
            made = replace(made, versus="baseline")
        elif base in means and made.mean is not None and made.mean.value is not None:
            gain = gains[row] if row in gains else _difference(made.mean, means[base])
            made = replace(made, versus="gain" if gain else "none", gain=gain)
        found.append(made)
    return found, Paired(table, places)


def _elsewhere(
    key: ColumnKey, apart: Mapping[ColumnKey, str], baseline_target: str | None
) -> ColumnKey | None:
    """The column of a task's variant on which the baseline is evaluated; None if it is this one."""
    if baseline_target is None or f"({baseline_target})" in key.target:
        return None
    wanted = (f"{key.target} ({baseline_target})", f"{key.target.removesuffix(')')}, {baseline_target})")
    return next((one for one in apart if one.target in wanted and one.headline == key.headline), None)


def _gain(entries: Sequence[Entry], mean: Mean, over: Sequence[Entry], headline: str) -> Estimate | None:
    """The gain over a model that is evaluated on another variant of the same examples."""
    pair = [method_of(found, headline, trained=True) for found in (entries, over)]
    if pair[0] is not None and pair[1] is not None:
        gain = Aligned([pair[0], pair[1]]).gain(0, 1)
        return gain if gain.value is not None else None
    values = [one.record.metrics[headline].value for one in over if headline in one.record.metrics]
    known = [value for value in values if value is not None]
    if mean.value is None or not known:
        return None
    return Estimate(mean.value - fmean(known), mean.n, 0, 0)


def _profiles(held: Mapping[ColumnKey, Sequence[Entry]], loaded: Loaded) -> dict[ColumnKey, str]:
    """The profiles of a column's cells, where the columns differ in them."""
    found = {
        key: frozenset(name for entry in entries for name in loaded.profiles.get(entry.record.identity, ()))
        for key, entries in held.items()
    }
    if len(set(found.values())) < 2:
        return {}
    return {key: " and ".join(sorted(names)) for key, names in found.items()}


def method_of(
    entries: Sequence[Entry],
    metric: str,
    trained: bool,
    only: Callable[[Sequence[str]], Sequence[int]] | None = None,
) -> Method | None:
    """Evaluations of one model, one per seed, on the samples at the places that `only` gives for their ids,
    or on all; None if one has no per-sample scores of the metric."""
    seeds, statistic = [], None
    for entry in entries:
        scores = entry.scores
        if scores is not None and metric in scores.scores and metric not in scores.sums:
            rows = np.array(scores.scores[metric], dtype=np.float64)[:, None]
        elif scores is not None and any(scores.sums.get(metric, ())) and metric in entry.record.metrics:
            held = scores.sums[metric]
            width = next(len(row) for row in held if row is not None)
            rows = np.array([row or [np.nan] * width for row in held], dtype=np.float64)
            record = entry.record
            found = statistic_of(protocol_of(record), metric, record.metrics[metric])
            if found is None:  # its plugin is not installed
                return None
            statistic = found[0]
        else:
            return None
        if only is None:
            seeds.append(Sampled(scores.ids, scores.clusters, rows))
            continue
        kept = only(scores.ids)
        ids, users = ([of[place] for place in kept] for of in (scores.ids, scores.clusters))
        seeds.append(Sampled(ids, users, rows[kept]))
    share = all(
        metric in entry.record.metrics and entry.record.metrics[metric].ci_method == "wilson-t"
        for entry in entries
    )
    names = [entry.record.labels.seed for entry in entries]
    return Method(seeds, trained, statistic, share, names) if seeds else None


def _mean(entries: Sequence[Entry], headline: str, estimate: Estimate | None) -> Mean:
    metrics = [e.record.metrics[headline] for e in entries if headline in e.record.metrics]
    values = [metric.value for metric in metrics if metric.value is not None]
    users = estimate.users if estimate is not None else None
    same = 0
    if len(entries) == 1 and metrics:
        value, ci = metrics[0].value, metrics[0].ci
        users = metrics[0].users if users is None else users
    else:
        value = fmean(values) if values else None
        ci = metrics[0].clipped(estimate.ci) if estimate is not None and metrics else None
    if estimate is not None and estimate.spread is not None and not estimate.spread.variance:
        same = estimate.n
    return Mean(
        value=value,
        ci=ci,
        n=sum(m.n for m in metrics),
        missing=sum(m.missing for m in metrics),
        flags=flags([entry.record for entry in entries], headline),
        users=users,
        aside=interval_aside(ci, users, same),
    )


def _difference(mean: Mean, base: Mean) -> Estimate | None:
    """The difference without an interval, if no samples can be paired."""
    if mean.value is None or base.value is None:
        return None
    return Estimate(mean.value - base.value, min(mean.n, base.n), 0, 0)


def _ranks(table: Aligned, better: Better | None) -> dict[int, tuple[int, int]]:
    """The ranks left possible by the tests of all pairs, by model; empty without pairs, and if there are
    more than MOST_RANKED models."""
    count, sign = len(table.methods), -1 if better == "lower" else 1
    if better is None or not FEWEST_RANKED <= count <= MOST_RANKED:
        return {}
    pairs = [(i, j, sign * gain, p) for i, j, gain, p in table.pairs()]
    return dict(enumerate(rank_ranges(pairs, count))) if any(p is not None for *_, p in pairs) else {}


def _column(
    key: ColumnKey, apart: str, profile: str, outcomes: Sequence[Outcome], tests: int, models: int
) -> TargetColumn:
    """`models`: how many have scores by sample."""
    means = [one.mean for one in outcomes if one.mean]
    records = [record for one in outcomes for record in one.records]
    gains = [one.gain for one in outcomes if one.gain]
    users = [mean.users for mean in means if mean.users]
    users += [gain.users for gain in gains if gain.ci]
    level = 1 - ALPHA / max(1, tests)
    found = [gain.spread.detectable(level) for gain in gains if gain.spread is not None]
    better, ranked = better_of(records, key.headline or ""), sum(one.rank is not None for one in outcomes)
    detectable = [least for least in found if least is not None]
    return TargetColumn(
        target=key.target,
        apart=", ".join(filter(None, (apart, profile and f"profile {profile}"))),
        headline=key.headline,
        better=better,
        digits=digits_for(
            (bound for mean in means for bound in (mean.value, *(mean.ci or ()))),
            ((gain.ci[1] - gain.ci[0]) / 2 for gain in gains if gain.ci),
        ),
        notes=tuple(sorted({note for record in records for note in record.notes})),
        sizes=_range([mean.n for mean in means]),
        users=_range(users),
        detectable=median(detectable) if detectable else None,
        ranked=ranked,
        unranked="" if ranked or better is None else _unranked(models),
        metric=metric_title(key.protocol, key.headline or ""),
        protocol=key.protocol,
        task=task_title(key.protocol),
        profile=profile,
    )


def _unranked(models: int) -> Literal["few", "many", "untested"]:
    return "few" if models < FEWEST_RANKED else "many" if models > MOST_RANKED else "untested"


def better_of(records: Sequence[CellRecord], metric: str) -> Better | None:
    """The metric's direction in the newest record that has one; older records have none."""
    declared = [record for record in records if metric in record.better]
    newest = max(declared, key=lambda record: (record.finished, record.identity), default=None)
    return newest.better[metric] if newest is not None else "higher"


def _range(counts: Sequence[int]) -> tuple[int, int] | None:
    return (min(counts), max(counts)) if counts else None


def _unrecorded(loaded: Loaded) -> tuple[str, ...]:
    """What is in the latest plans but in no record: "target fam/task", "trainer ce"."""
    known = {name for entry in loaded.entries for name in entry.record.labels.names}
    return tuple(name for name in loaded.names if name not in known)
