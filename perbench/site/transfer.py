"""The cross-task matrix: what was trained (rows) against what it was evaluated on (columns)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from perbench.errors import PerbenchError
from perbench.site.columns import Place, columns_of, told_apart
from perbench.site.flags import Flag, flags
from perbench.site.format import digits_for, natural
from perbench.site.load import Entry, Loaded
from perbench.site.rows import Row, baseline_of, order, rows_of
from perbench.specs.rows import task_of
from perbench.stats.intervals import Gain, Sampled, chance_to_exclude_zero, mean_interval, paired_gain
from perbench.store import CellRecord


@dataclass(frozen=True)
class Estimate:
    """A headline value; several seeds are averaged. `n` counts samples, `missing` those without a score;
    `flags` are the caveats of this number (`perbench.site.flags`)."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    missing: int
    seeds: int
    flags: tuple[Flag, ...] = ()
    users: int | None = None
    """How many users the interval resamples, None without one."""


@dataclass(frozen=True)
class Cell:
    """`records` are the cells behind it, by seed: done ones first made the estimate, failed ones are told.

    `versus`: there is a gain over the baseline row; this is the baseline; or there is nothing to compare."""

    status: Literal["done", "failed", "no record"]
    records: tuple[CellRecord, ...] = ()
    estimate: Estimate | None = None
    versus: Literal["baseline", "gain", "none"] = "none"
    gain: Gain | None = None
    own: bool = False
    """Trained on the very task it is evaluated on."""

    @property
    def status_text(self) -> str:
        """What stands in place of a number."""
        return "no score" if self.status == "done" else self.status

    @property
    def failures(self) -> tuple[CellRecord, ...]:
        return tuple(record for record in self.records if record.status == "failed")


@dataclass(frozen=True)
class Column:
    """A target task, on the same data under the same settings; `apart` says in words what tells it from other
    columns of the task, "" where there are none. `reach` is the largest absolute bound of its gains'
    intervals, the scale they are drawn at."""

    target: str
    apart: str
    headline: str | None
    digits: int
    reach: float
    notes: tuple[str, ...]
    sizes: tuple[int, int] | None
    users: tuple[int, int] | None

    @property
    def title(self) -> str:
        """ "longlamp/pag · 8 examples"."""
        return " · ".join(filter(None, (self.target, self.apart)))


@dataclass(frozen=True)
class Matrix:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Row, tuple[Cell, ...]], ...]
    baseline: str | None
    unrecorded: tuple[str, ...] = ()
    """What the matrices name and no record mentions yet."""

    @property
    def gains(self) -> list[Gain]:
        """All gains that have an interval."""
        return [cell.gain for _, cells in self.rows for cell in cells if cell.gain and cell.gain.ci]

    @property
    def by_chance(self) -> float:
        """How many of the gains' intervals would exclude 0 if nothing differed; few users make it more."""
        return sum(chance_to_exclude_zero(gain.users) for gain in self.gains)

    @property
    def excluding_zero(self) -> int:
        return sum(gain.excludes_zero for gain in self.gains)


@dataclass
class _Group:
    """Entries of one row and column, by seed."""

    entries: list[Entry] = field(default_factory=list)

    def done(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.record.status == "done"]


def transfer(loaded: Loaded) -> Matrix:
    """
    Raises:
        PerbenchError: two cells of one target hold the same sample under different users, or two records of
            one seed cannot be told apart.
    """
    entries = [entry for entry in loaded.entries if entry.record.kind == "eval"]
    rows_by = rows_of(loaded)
    places = columns_of(entries)
    groups: dict[tuple[Row, Place], _Group] = defaultdict(_Group)
    held: dict[Place, list[Entry]] = defaultdict(list)
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
        (row, tuple(_cell(row, place, groups, rows, loaded.baseline) for place in order_of)) for row in rows
    ]
    columns = tuple(
        _column(place, apart[place], [cells[i] for _, cells in table]) for i, place in enumerate(order_of)
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


def _cell(
    row: Row,
    place: Place,
    groups: Mapping[tuple[Row, Place], _Group],
    rows: Sequence[Row],
    baseline: str | None,
) -> Cell:
    target, headline = place.target, place.headline
    own = row.source is not None and task_of(row.source) == task_of(target)
    group = groups.get((row, place))
    if group is None:
        return Cell("no record", own=own)
    done = group.done()
    failed = [entry for entry in group.entries if entry.record.status == "failed"]
    records = tuple(entry.record for entry in done + failed)
    if not done or headline is None:
        return Cell("failed" if failed else "done", records, own=own)
    estimate = _estimate(done, headline)
    base = baseline_of(row, rows, baseline)
    if base == row:
        return Cell("done", records, estimate, "baseline", own=own)
    other = groups[base, place].done() if base and (base, place) in groups else []
    if not other or estimate.value is None:
        return Cell("done", records, estimate, own=own)
    gain = _gain(done, other, headline, estimate, f"{row.trainer} on {target}")
    return Cell("done", records, estimate, "gain" if gain else "none", gain, own)


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


def _estimate(entries: Sequence[Entry], headline: str) -> Estimate:
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
    return Estimate(value, ci, n, missing, len(entries), flagged, users)


def _gain(
    entries: Sequence[Entry], baseline: Sequence[Entry], headline: str, estimate: Estimate, where: str
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
    base = _estimate(baseline, headline)
    if estimate.value is None or base.value is None:
        return None
    return Gain(estimate.value - base.value, None, min(estimate.n, base.n), 0, 0)


def _column(place: Place, apart: str, cells: Sequence[Cell]) -> Column:
    values = [bound for c in cells if c.estimate for bound in (c.estimate.value, *(c.estimate.ci or ()))]
    reach = max((abs(bound) for c in cells if c.gain and c.gain.ci for bound in c.gain.ci), default=0.0)
    notes = dict.fromkeys(note for cell in cells for record in cell.records for note in record.notes)
    counts = [c.estimate.n for c in cells if c.estimate]
    users = [c.estimate.users for c in cells if c.estimate and c.estimate.users]
    users += [c.gain.users for c in cells if c.gain and c.gain.ci]
    return Column(
        target=place.target,
        apart=apart,
        headline=place.headline,
        digits=digits_for(values),
        reach=reach,
        notes=tuple(sorted(notes)),
        sizes=_range(counts),
        users=_range(users),
    )


def _range(counts: Sequence[int]) -> tuple[int, int] | None:
    return (min(counts), max(counts)) if counts else None


def _unrecorded(loaded: Loaded) -> tuple[str, ...]:
    """What takes part in the runs' latest plans and in no record: "target fam/task", "trainer ce"."""
    known = {name for entry in loaded.entries for name in entry.record.labels.names}
    return tuple(name for name in loaded.names if name not in known)
