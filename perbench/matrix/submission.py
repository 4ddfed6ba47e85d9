"""Checks published files, which anybody may submit: `perbench leaderboard check`.

Nothing is generated or trained. Invented scores from which everything else was computed correctly pass where
samples are missing; only the command of the cell, run again, can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from perbench.contracts.protocol import Protocol
from perbench.contracts.results import UNREADABLE
from perbench.errors import PerbenchError
from perbench.matrix.publish import withheld
from perbench.matrix.rescore import rescored, same_task
from perbench.matrix.verify import Checked, compare, compare_scores
from perbench.progress import counted
from perbench.published import FileFault, Published, PublishedCell, published_files, whole
from perbench.published.follows import score_faults
from perbench.published.read import AGAIN, shown
from perbench.published.rules import faults_of
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of
from perbench.store.record import CellRecord

MOST_NAMED = 5
"""Maximum metrics listed as unchecked."""


@dataclass
class SubmissionReport:
    """`faults` by file, in order; `unchecked`: the number of cells on a target of which something could not
    be checked, by target and what; `metrics`: how many were recomputed and are equal."""

    faults: list[tuple[Path, FileFault]] = field(default_factory=list)
    unchecked: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: int = 0
    cells: int = 0
    metrics: int = 0


def check(places: Sequence[Path], now: datetime | None = None) -> SubmissionReport:
    """Check files, and all files of folders, each and against each other.

    Raises:
        PerbenchError: a place holds no published file.
    """
    report = SubmissionReport()
    files: dict[Path, None] = {}
    for place in places:
        found = published_files(place)
        if not found:
            raise PerbenchError(
                f"{place}: no published file (*.json); `perbench leaderboard add RUN` writes them"
            )
        files |= dict.fromkeys(found)
    across = _Across()
    for path in files:
        published, faults = whole(path)
        if published is not None:
            wrong, followed = score_faults(published)
            faults += [*faults_of(published, now), *wrong, *across.faults(path, published)]
            if not faults:
                faults += _against_tasks(published, followed, report)
            report.cells += len(published.cells) + len(published.trainings)
        report.faults += [(path, fault) for fault in faults]
        report.files += 1
    return report


class _Across:
    """What no two files may both say."""

    def __init__(self) -> None:
        self._cells: dict[str, Path] = {}
        self._trainings: dict[str, tuple[Path, CellRecord]] = {}
        self._users: dict[tuple[str, str], tuple[Path, dict[str, str]]] = {}

    def faults(self, path: Path, published: Published) -> Iterator[FileFault]:
        for place, cell in published.placed:
            record = cell.record
            if record.kind == "train":
                first, other = self._trainings.setdefault(record.identity, (path, record))
                if other != record:
                    what = f"training {record.identity[:16]} has another record in {first.name}"
                    yield FileFault(f"{place}.record", what, "add the runs of both files again")
                continue
            first = self._cells.setdefault(record.identity, path)
            if first is not path or self._twice(published, record.identity, place):
                what = f"{shown(record.identity)} is also in {first.name}"
                yield FileFault(f"{place}.record.identity", what, "keep one of them")
            if cell.scores is not None:
                yield from self._user(path, place, cell)

    @staticmethod
    def _twice(published: Published, identity: str, place: str) -> bool:
        return next(at for at, cell in published.placed if cell.record.identity == identity) != place

    def _user(self, path: Path, place: str, cell: PublishedCell) -> Iterator[FileFault]:
        """Users of a target's samples must agree, or its column cannot be compared."""
        assert cell.scores is not None
        key = cell.record.labels.target or "", str(cell.record.inputs.get("data"))
        first, users = self._users.setdefault(key, (path, {}))
        for sample, user in zip(cell.scores.ids, cell.scores.clusters, strict=True):
            if users.setdefault(sample, user) != user:
                what = (
                    f"sample {shown(sample)}: user {shown(user)}, but {shown(users[sample])} in {first.name}"
                )
                yield FileFault(f"{place}.scores.clusters", what, AGAIN)
                return


def _against_tasks(
    published: Published, followed: Mapping[str, set[str]], report: SubmissionReport
) -> Iterator[FileFault]:
    """Faults that only show against the tasks of this machine; notes what cannot be checked."""
    matrices = {name: part.model_dump() for name, part in published.matrices.items()}
    for place, cell in published.placed:
        record = cell.record
        if place not in followed:
            continue
        if cell.samples is not None:
            reason = withheld(record, matrices)
            if reason is not None:
                yield FileFault(f"{place}.samples", f"of {record.labels.target}: {reason}", "omit --samples")
        try:
            task = same_task(record, matrices, {}, helpers=False)
        except PerbenchError as error:
            if cell.samples is not None:
                yield FileFault(f"{place}.samples", f"cannot be checked: {error}", "omit --samples")
            report.unchecked[_target(record), f"bounds: {error}"] += 1
        except UNREADABLE as error:
            yield FileFault(
                f"{place}.record.inputs", f"cannot be read: {type(error).__name__}: {error}", AGAIN
            )
        else:
            yield from _bounds(place, record, owner_of(task.spec))
            if cell.samples is not None:
                yield from _samples(place, cell, cell.samples, task, report)
                continue
        report.metrics += len(followed[place])
        if rest := sorted(record.metrics.keys() - followed[place]):
            named = ", ".join([*rest[:MOST_NAMED], *(["…"] if len(rest) > MOST_NAMED else [])])
            report.unchecked[_target(record), f"{counted(len(rest), 'metric')} need samples: {named}"] += 1


def _bounds(place: str, record: CellRecord, owner: Protocol[Any]) -> Iterator[FileFault]:
    better = owner.better(record.metrics)
    for name, metric in record.metrics.items():
        try:
            scale = owner.scale(name)
        except PerbenchError:  # the metric's plugin is not installed
            continue
        key = f"{place}.record.metrics.{name}"
        if metric.bounds not in (None, scale.recorded) and metric.ci_method != "wilson-t":
            yield FileFault(
                f"{key}.bounds", f"{shown(metric.bounds)}, but {shown(scale.recorded)} here", AGAIN
            )
        elif metric.value is not None and not scale.holds(metric.value):
            low, high = scale.bounds
            yield FileFault(
                f"{key}.value", f"{metric.value} is outside its range, {low:g} to {high:g}", AGAIN
            )
        if record.better.get(name, "higher") != better.get(name, "higher"):
            what = f"{record.better.get(name, 'higher')}, but {better.get(name, 'higher')} by the protocol"
            yield FileFault(f"{place}.record.better.{name}", what, AGAIN)


def _samples(
    place: str,
    cell: PublishedCell,
    samples: Sequence[Mapping[str, Any]],
    task: Named[TaskSpec],
    report: SubmissionReport,
) -> Iterator[FileFault]:
    record = cell.record
    owner = owner_of(task.spec)
    try:
        scored = owner.checked(samples)
    except (PerbenchError, *UNREADABLE) as error:
        yield FileFault(f"{place}.samples", f"cannot be scored: {error}", AGAIN)
        return
    found = Checked(place)
    compare(found, record, rescored(record, task, scored))
    compare_scores(found, cell.scores, scored, record)
    for fault in found.faults:
        yield FileFault(place, fault, AGAIN)
    report.unchecked.update((_target(record), what) for what in (*found.unchecked, *owner.unverified()))
    report.metrics += found.metrics


def _target(record: CellRecord) -> str:
    return record.labels.target or ""
