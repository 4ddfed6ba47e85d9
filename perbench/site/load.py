"""Run directories -> the records a page shows: each cell once; of those with the same labels
the one of its run's latest plan, else the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError
from perbench.store import CellRecord, RunDir, Scores, read_records
from perbench.store.cell import read_scores

DEFAULT_BASELINE = "ce"


@dataclass(frozen=True)
class Entry:
    """One cell's record with its per-sample scores and the name of the run it was read from; `planned` says
    that it belongs to the run's latest plan, so that it goes before a newer record with the same labels."""

    record: CellRecord
    scores: Scores | None
    run: str
    planned: bool = False

    @property
    def users(self) -> int | None:
        """How many users (or personas) the samples come from: what the intervals resample."""
        return len(set(self.scores.clusters)) if self.scores is not None else None


@dataclass(frozen=True)
class Loaded:
    """`superseded` counts records left out for another with the same labels; `baseline` is the trainer
    that gains are measured over, None where no row could be one; `matrices` are the runs' resolved specs,
    `names` what takes part in their latest plans, as `Labels.names` has it."""

    entries: tuple[Entry, ...]
    superseded: int
    baseline: str | None
    matrices: tuple[Mapping[str, Any], ...]
    names: tuple[str, ...]


def load(runs: Sequence[Path], baseline: str | None = None, matrix: str | None = None) -> Loaded:
    """Read run directories, in any order, with the same result.

    Args:
        baseline: the trainer that gains are measured over, in place of the matrices'.
        matrix: leaves out all but the cells of this matrix's latest plan.

    Raises:
        PerbenchError: a run is absent, empty or damaged, or the runs disagree about the baseline.
    """
    entries: list[Entry] = []
    specs: list[Mapping[str, Any]] = []
    names: list[str] = []
    for run in runs:
        found = read_records(run)
        if not found:
            raise PerbenchError(
                f"{run} has no finished cells yet. Start or finish it with `perbench run … --out {run}`."
            )
        described = RunDir(run).description()
        plans, matrices, taking_part = (
            {name: value for name, value in described.get(key, {}).items() if matrix in (None, name)}
            for key in ("plans", "matrices", "names")
        )
        planned = set(chain.from_iterable(plans.values()))
        entries += [
            Entry(record, read_scores(folder), run.resolve().name, record.identity in planned)
            for record, folder in found
            if matrix is None or record.identity in planned
        ]
        specs += [matrices[name] for name in sorted(matrices)]
        names += chain.from_iterable(found for _, found in sorted(taking_part.items()))
    unique = _foremost(entries, lambda entry: entry.record.identity)
    kept = _foremost(unique, lambda entry: f"{entry.record.kind} {entry.record.labels.model_dump_json()}")
    kept.sort(key=lambda entry: entry.record.identity)
    trainers = {entry.record.labels.trainer for entry in kept} - {None}
    over = _baseline(baseline, specs, trainers)
    return Loaded(tuple(kept), len(unique) - len(kept), over, tuple(specs), tuple(dict.fromkeys(names)))


def _foremost(entries: Sequence[Entry], key: Any) -> list[Entry]:
    """One entry per key: a done record before a failed one of the same identity, a planned one before one
    that is not, then the one that finished last."""
    best: dict[str, Entry] = {}
    for entry in entries:
        other = best.get(key(entry))
        if other is None or _rank(entry, other) > _rank(other, entry):
            best[key(entry)] = entry
    return list(best.values())


def _rank(entry: Entry, other: Entry) -> tuple[bool, bool, str, str, str]:
    record = entry.record
    same = record.identity == other.record.identity
    return (same and record.status == "done", entry.planned, record.finished, record.identity, entry.run)


def _baseline(asked: str | None, specs: Sequence[Mapping[str, Any]], trainers: set[Any]) -> str | None:
    if asked is not None:
        if asked not in trainers:
            raise PerbenchError(
                f"--baseline {asked}: no record was trained by it. "
                f"Trainers in these runs: {', '.join(sorted(trainers)) or 'none'}."
            )
        return asked
    named = sorted({spec["baseline"] for spec in specs if spec.get("baseline")})
    if len(named) > 1:
        raise PerbenchError(
            f"the runs measure gains over different baselines: {', '.join(named)}. "
            f"Choose one: --baseline {named[0]}, or build a page for each."
        )
    wanted = named[0] if named else DEFAULT_BASELINE
    return wanted if wanted in trainers else None
