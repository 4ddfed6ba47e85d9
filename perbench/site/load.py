"""Loads the records to show from run directories: each cell once, without those replaced by a later plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.contracts.results import Entry, Loaded
from perbench.errors import PerbenchError, suggest
from perbench.store import CellRecord, DamagedRecord, RunDir, read_records
from perbench.store.check import SAMPLES, read_samples, read_scores
from perbench.store.pack import run_folder


def load(runs: Sequence[Path], baseline: str | None = None, matrix: str | None = None) -> Loaded:
    """Read run directories; their order does not matter.

    Args:
        baseline: the trainer that gains are measured against, instead of the matrices'.
        matrix: restricts to the cells of this matrix's latest plan.

    Raises:
        PerbenchError: a run is absent or empty, or holds only damaged records; or the runs have different
            baselines.
    """
    damaged: list[DamagedRecord] = []
    entries: list[Entry] = []
    specs: list[Mapping[str, Any]] = []
    names: list[str] = []
    trainings: dict[str, Mapping[str, Any]] = {}
    replaced: dict[str, Entry] = {}
    shown: set[str] = set()
    waiting: set[str] = set()
    recorded: set[str] = set()
    for run in map(run_folder, runs):
        before = len(damaged)
        found = read_records(run, damaged)
        if not found:
            if damaged[before:]:
                raise PerbenchError("\n".join(map(str, damaged[before:])))
            raise PerbenchError(
                f"{run} has no finished cells yet; start or finish it with `perbench run … --out {run}`"
            )
        described = _description(run, damaged)
        plans, matrices, taking_part = (
            {name: value for name, value in described.get(key, {}).items() if matrix in (None, name)}
            for key in ("plans", "matrices", "names")
        )
        planned = set(chain.from_iterable(plans.values()))
        waiting |= planned
        recorded |= {record.identity for record, _ in found}
        of_run = []
        for record, folder in found:
            if matrix is None or record.identity in planned:
                try:
                    scores = read_scores(folder)
                except DamagedRecord as damage:
                    damaged.append(damage)
                    continue
                reads = partial(read_samples, folder, record.identity)
                here = reads if (folder / SAMPLES).is_file() else None
                of_run.append(Entry(record, scores, run.resolve().name, record.identity in planned, here))
        gone = _replaced(of_run)
        replaced |= gone
        shown |= {entry.record.identity for entry in of_run} - gone.keys()
        entries += of_run
        trainings |= {record.identity: record.inputs for record, _ in found if record.kind == "train"}
        specs += [matrices[name] for name in sorted(matrices)]
        names += chain.from_iterable(found for _, found in sorted(taking_part.items()))
    if not entries and damaged:
        raise PerbenchError("\n".join(map(str, damaged)))
    unique = sorted(_once(entries), key=lambda entry: entry.record.identity)
    kept = tuple(entry for entry in unique if entry.record.identity in shown)
    superseded = tuple(
        (entry, replaced[entry.record.identity]) for entry in unique if entry.record.identity not in shown
    )
    trainers = {entry.record.labels.trainer for entry in kept} - {None}
    over = _baseline(baseline, specs, trainers)
    taking_part_once = tuple(dict.fromkeys(names))
    return Loaded(
        kept,
        superseded,
        trainings,
        over,
        tuple(specs),
        taking_part_once,
        tuple(damaged),
        len(waiting - recorded),
    )


def _description(run: Path, damaged: list[DamagedRecord]) -> dict[str, Any]:
    try:
        return RunDir(run).description()
    except DamagedRecord as damage:
        damaged.append(damage)
        return {}


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """One entry per identity, preferring a done record, then a planned one, then the one that finished
    last."""

    def rank(entry: Entry) -> tuple[bool, bool, str, str]:
        return entry.record.status == "done", entry.planned, entry.record.finished, entry.run

    best: dict[str, Entry] = {}
    for entry in entries:
        other = best.setdefault(entry.record.identity, entry)
        if rank(entry) > rank(other):
            best[entry.record.identity] = entry
    return list(best.values())


def _replaced(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Records of a run that are in no latest plan, by identity, with the newest planned record of that
    name."""
    planned = {_place(entry.record): entry for entry in sorted(entries, key=_age) if entry.planned}
    return {
        entry.record.identity: planned[_place(entry.record)]
        for entry in entries
        if not entry.planned and _place(entry.record) in planned
    }


def _place(record: CellRecord) -> tuple[str, str]:
    return record.kind, record.labels.model_dump_json()


def _age(entry: Entry) -> tuple[str, str]:
    return entry.record.finished, entry.record.identity


def _baseline(asked: str | None, specs: Sequence[Mapping[str, Any]], trainers: set[Any]) -> str | None:
    if asked is not None:
        if asked not in trainers:
            raise PerbenchError(
                f"--baseline {asked}: these runs have no record of this trainer.{suggest(asked, trainers)}"
            )
        return asked
    named = sorted({spec["baseline"] for spec in specs if spec.get("baseline")})
    if len(named) > 1:
        raise PerbenchError(
            f"the runs measure gains over different baselines: {', '.join(named)}; "
            f"choose one with --baseline {named[0]}, or build a page for each"
        )
    wanted = named[0] if named else default_baseline()
    return wanted if wanted in trainers else None


def default_baseline() -> str | None:
    """The baseline of the first section that names one, used if no matrix names one."""
    found = sorted(plugins.classes("section").values(), key=lambda cls: cls.order)
    return next((cls.baseline for cls in found if cls.baseline), None)
