"""The cross-task matrix: what was trained (rows) against what it was evaluated on (columns)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from perbench.contracts.results import Entry, Loaded, Matrix, Mean, ModelRow, Outcome, TargetColumn
from perbench.errors import PerbenchError
from perbench.site.columns import ColumnKey, columns_of, told_apart
from perbench.site.flags import flags
from perbench.site.format import digits_for, natural
from perbench.site.rows import baseline_of, order, rows_of
from perbench.specs.rows import task_of
from perbench.stats.intervals import Gain, Sampled, mean_interval, paired_gain
from perbench.store import CellRecord
from perbench.store.record import Better


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
            one seed cannot be told apart.
    """
    entries = [entry for entry in loaded.entries if entry.record.kind == "eval"]
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
    apart = told_apart(held)
    order_of = sorted(
        apart, key=lambda place: (task_of(place.target), natural(place.target), natural(apart[place]))
    )
    table = [
        (row, tuple(_outcome(row, key, groups, rows, loaded.baseline) for key in order_of)) for row in rows
    ]
    columns = tuple(
        _column(key, apart[key], [outcomes[i] for _, outcomes in table]) for i, key in enumerate(order_of)
    )
    return Matrix(columns, tuple(table), loaded.baseline, _unrecorded(loaded))


def _check_seeds(groups: Iterable[_Group]) -> None:
    for group in groups:
        seeds = [entry.record.labels.seed for entry in group.entries]
        twice = next((entry for entry in group.entries if seeds.count(entry.record.labels.seed) > 1), None)
        if twice is not None:
            labels = twice.record.labels
            raise PerbenchError(
                f"run {twice.run} holds two records of {labels.trainer or labels.model} on {labels.target}, "
                f"seed {labels.seed}, without the records of their trainings. Delete one of them, such as "
                f"cells/eval-{twice.record.identity[:16]}, or run its matrix again."
            )


def _outcome(
    row: ModelRow,
    place: ColumnKey,
    groups: Mapping[tuple[ModelRow, ColumnKey], _Group],
    rows: Sequence[ModelRow],
    baseline: str | None,
) -> Outcome:
    target, headline = place.target, place.headline
    own = row.source is not None and task_of(row.source) == task_of(target)
    group = groups.get((row, place))
    if group is None:
        return Outcome("no record", own=own)
    done = group.done()
    failed = [entry for entry in group.entries if entry.record.status == "failed"]
    records = tuple(entry.record for entry in done + failed)
    if not done or headline is None:
        return Outcome("failed" if failed else "done", records, own=own)
    mean = _mean(done, headline)
    base = baseline_of(row, rows, baseline)
    if base == row:
        return Outcome("done", records, mean, "baseline", own=own)
    other = groups[base, place].done() if base and (base, place) in groups else []
    if not other or mean.value is None:
        return Outcome("done", records, mean, own=own)
    gain = _gain(done, other, headline, mean, f"{row.trainer} on {target}")
    return Outcome("done", records, mean, "gain" if gain else "none", gain, own)


def _sampled(entries: Sequence[Entry], headline: str) -> Sampled | None:
    """Per-sample headline scores of all seeds, None where one keeps none (a corpus-level metric)."""
    kept = [entry.scores for entry in entries if entry.scores and headline in entry.scores.scores]
    if len(kept) < len(entries):
        return None
    return Sampled(
        [name for scores in kept for name in scores.ids],
        [value for scores in kept for value in scores.scores[headline]],
        [cluster for scores in kept for cluster in scores.clusters],
    )


def _mean(entries: Sequence[Entry], headline: str) -> Mean:
    metrics = [e.record.metrics[headline] for e in entries if headline in e.record.metrics]
    values = [metric.value for metric in metrics if metric.value is not None]
    n, missing = sum(m.n for m in metrics), sum(m.missing for m in metrics)
    flagged = flags([entry.record for entry in entries], headline)
    sampled = _sampled(entries, headline)
    if len(entries) == 1 and metrics:
        value, ci = metrics[0].value, metrics[0].ci
    else:
        sampled = sampled.averaged() if sampled else None
        value = fmean(values) if values else None
        ci = mean_interval(sampled.values, sampled.clusters) if sampled else None
    pairs = zip(sampled.clusters, sampled.values, strict=True) if sampled and ci else ()
    users = len({user for user, score in pairs if score is not None}) or None
    return Mean(value, ci, n, missing, flagged, users)


def _gain(
    entries: Sequence[Entry], baseline: Sequence[Entry], headline: str, mean: Mean, where: str
) -> Gain | None:
    """Paired by sample where both sides keep per-sample scores; else the bare difference, no interval."""
    ours, theirs = _sampled(entries, headline), _sampled(baseline, headline)
    if ours is not None and theirs is not None:
        try:
            return paired_gain(ours, theirs)
        except ValueError as error:
            raise PerbenchError(
                f"{where}: {error}. The runs hold different data under one digest; build a page for each run."
            ) from None
    base = _mean(baseline, headline)
    if mean.value is None or base.value is None:
        return None
    return Gain(mean.value - base.value, None, min(mean.n, base.n), 0, 0)


def _column(key: ColumnKey, apart: str, outcomes: Sequence[Outcome]) -> TargetColumn:
    means = [one.mean for one in outcomes if one.mean]
    records = [record for one in outcomes for record in one.records]
    users = [mean.users for mean in means if mean.users]
    users += [one.gain.users for one in outcomes if one.gain and one.gain.ci]
    return TargetColumn(
        target=key.target,
        apart=apart,
        headline=key.headline,
        better=better_of(records, key.headline or ""),
        digits=digits_for(bound for mean in means for bound in (mean.value, *(mean.ci or ()))),
        notes=tuple(sorted({note for record in records for note in record.notes})),
        sizes=_range([mean.n for mean in means]),
        users=_range(users),
    )


def better_of(records: Sequence[CellRecord], metric: str) -> Better | None:
    """What the newest record says of the metric that says anything; older ones say nothing."""
    said = [record for record in records if metric in record.better]
    newest = max(said, key=lambda record: (record.finished, record.identity), default=None)
    return newest.better[metric] if newest is not None else "higher"


def _range(counts: Sequence[int]) -> tuple[int, int] | None:
    return (min(counts), max(counts)) if counts else None


def _unrecorded(loaded: Loaded) -> tuple[str, ...]:
    """What takes part in the runs' latest plans and in no record: "target fam/task", "trainer ce"."""
    known = {name for entry in loaded.entries for name in entry.record.labels.names}
    return tuple(name for name in loaded.names if name not in known)
