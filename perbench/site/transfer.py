"""The cross-task matrix: what was trained (rows) against what it was evaluated on (columns)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from perbench.errors import PerbenchError
from perbench.site.format import digits_for, natural
from perbench.site.load import Entry, Loaded
from perbench.site.rows import Row, order, row_of, varied_params
from perbench.specs.rows import task_of
from perbench.stats import Gain, Sampled, chance_to_exclude_zero, mean_interval, paired_gain
from perbench.store import CellRecord


@dataclass(frozen=True)
class Estimate:
    """A headline value; several seeds are averaged. `n` counts samples, `missing` those without a score."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    missing: int
    seeds: int


@dataclass(frozen=True)
class Cell:
    """`records` are the cells behind it, by seed: done ones first made the estimate, failed ones are told.

    `versus`: there is a gain over the baseline row; this is the baseline; the baseline was evaluated on other
    data or under other settings ("mixed"), so that no gain is given; or there is nothing to compare."""

    status: Literal["done", "failed", "not run"]
    records: tuple[CellRecord, ...] = ()
    estimate: Estimate | None = None
    versus: Literal["baseline", "gain", "mixed", "none"] = "none"
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
    """`reach` is the largest absolute bound of its gains' intervals, the scale they are drawn at; `mixed`
    says that its cells were not all evaluated on the same data under the same settings."""

    target: str
    headline: str | None
    digits: int
    reach: float
    notes: tuple[str, ...]
    mixed: bool
    sizes: tuple[int, int] | None
    users: tuple[int, int] | None


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
        PerbenchError: two cells of one target hold the same sample under different users.
    """
    entries = [entry for entry in loaded.entries if entry.record.kind == "eval"]
    varied = varied_params([entry.record for entry in loaded.entries])
    groups: dict[tuple[Row, str], _Group] = defaultdict(_Group)
    for entry in sorted(entries, key=lambda entry: entry.record.labels.seed):
        groups[row_of(entry.record, varied), entry.record.labels.target or ""].entries.append(entry)
    trained = {row_of(e.record, varied) for e in loaded.entries if e.record.kind == "train"}
    rows = sorted({row for row, _ in groups} | trained, key=lambda row: order(row, loaded.baseline))
    found = {target for _, target in groups}
    targets = sorted(found, key=lambda target: (task_of(target), natural(target)))
    headlines = {target: _headline([g for (_, t), g in groups.items() if t == target]) for target in targets}
    baselines = _baselines(rows, loaded.baseline)
    table = [
        (row, tuple(_cell(row, target, groups, headlines[target], baselines) for target in targets))
        for row in rows
    ]
    columns = tuple(
        _column(target, headlines[target], [cells[i] for _, cells in table])
        for i, target in enumerate(targets)
    )
    return Matrix(columns, tuple(table), loaded.baseline, _unrecorded(loaded))


def _headline(groups: Sequence[_Group]) -> str | None:
    """The headline of the newest record that names one."""
    named = [entry.record for group in groups for entry in group.entries if entry.record.headline]
    return max(named, key=lambda r: (r.status == "done", r.finished, r.identity)).headline if named else None


def _baselines(rows: Sequence[Row], baseline: str | None) -> Mapping[tuple[str, str | None, str], Row]:
    """The baseline row for each (model, source, training); the first where its own parameters vary."""
    found: dict[tuple[str, str | None, str], Row] = {}
    for row in rows:
        if row.trainer is not None and row.trainer == baseline:
            found.setdefault((row.model, row.source, row.training), row)
    return found


def _cell(
    row: Row,
    target: str,
    groups: Mapping[tuple[Row, str], _Group],
    headline: str | None,
    baselines: Mapping[tuple[str, str | None, str], Row],
) -> Cell:
    own = row.source is not None and task_of(row.source) == task_of(target)
    group = groups.get((row, target))
    if group is None:
        return Cell("not run", own=own)
    done = group.done()
    failed = [entry for entry in group.entries if entry.record.status == "failed"]
    records = tuple(entry.record for entry in done + failed)
    if not done or headline is None:
        return Cell("failed" if failed else "done", records, own=own)
    estimate = _estimate(done, headline)
    base = baselines.get((row.model, row.source, row.training)) if row.trainer else None
    if base == row:
        return Cell("done", records, estimate, "baseline", own=own)
    other = groups[base, target].done() if base and (base, target) in groups else []
    if not other or estimate.value is None:
        return Cell("done", records, estimate, own=own)
    if len({_settings(entry.record) for entry in done + other}) > 1:
        return Cell("done", records, estimate, "mixed", own=own)
    gain = _gain(done, other, headline, estimate, f"{row.trainer} on {target}")
    return Cell("done", records, estimate, "gain" if gain else "none", gain, own)


ASKED = ("data", "target", "version")
"""Inputs that decide what was asked and how it is scored, whoever answers."""


def _settings(record: CellRecord, names: Sequence[str] = (*ASKED, "engine")) -> str:
    """What two cells must share to be compared sample by sample."""
    return json.dumps({name: record.inputs.get(name) for name in names}, sort_keys=True)


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
    if len(entries) == 1 and metrics:
        return Estimate(metrics[0].value, metrics[0].ci, n, missing, 1)
    sampled = _sampled(entries, headline)
    averaged = sampled.averaged() if sampled else None
    ci = mean_interval(averaged.values, averaged.clusters) if averaged else None
    return Estimate(fmean(values) if values else None, ci, n, missing, len(entries))


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
                f"{where}: {error}. The runs hold different data under one task's name; "
                "build a page for each run."
            ) from None
    base = _estimate(baseline, headline)
    if estimate.value is None or base.value is None:
        return None
    return Gain(estimate.value - base.value, None, min(estimate.n, base.n), 0, 0)


def _column(target: str, headline: str | None, cells: Sequence[Cell]) -> Column:
    values = [bound for c in cells if c.estimate for bound in (c.estimate.value, *(c.estimate.ci or ()))]
    reach = max((abs(bound) for c in cells if c.gain and c.gain.ci for bound in c.gain.ci), default=0.0)
    notes = dict.fromkeys(note for cell in cells for record in cell.records for note in record.notes)
    done = [record for c in cells for record in c.records if record.status == "done"]
    counts = [c.estimate.n for c in cells if c.estimate]
    users = [c.gain.users for c in cells if c.gain and c.gain.ci]
    return Column(
        target=target,
        headline=headline,
        digits=digits_for(values),
        reach=reach,
        notes=tuple(sorted(notes)),
        mixed=len({_settings(record, ASKED) for record in done}) > 1,
        sizes=_range(counts),
        users=_range(users),
    )


def _range(counts: Sequence[int]) -> tuple[int, int] | None:
    return (min(counts), max(counts)) if counts else None


def _unrecorded(loaded: Loaded) -> tuple[str, ...]:
    """What takes part in the runs' latest plans and in no record: "target fam/task", "trainer ce"."""
    known = {name for entry in loaded.entries for name in entry.record.labels.names}
    return tuple(name for name in loaded.names if name not in known)
