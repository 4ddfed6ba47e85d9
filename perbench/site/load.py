"""Loads the records to show from run directories, packs and published files: each cell once, without those
replaced by a later plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from os.path import isfile
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.contracts.results import Entry, Loaded
from perbench.errors import PerbenchError, suggest
from perbench.plugins import Plugin
from perbench.published import MatrixPart, PublishedCell, published_files, read_published
from perbench.site.choices import Roles, choices_of, joined, roles_of
from perbench.store import CellRecord, DamagedRecord, RunDir, read_records
from perbench.store.check import SAMPLES, read_samples, read_scores, samples_withheld
from perbench.store.pack import OpenedRun, open_run


@dataclass(frozen=True)
class PlaceResults:
    """What one place holds. `superseded`: those of `entries` replaced in the run's latest plans, by identity,
    with their replacement; `planned`, `recorded`: the identities of the latest plans and of all records; the
    rest as in `Loaded`."""

    entries: Sequence[Entry] = ()
    superseded: Mapping[str, Entry] = field(default_factory=dict)
    trainings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    matrices: Sequence[Mapping[str, Any]] = ()
    names: Sequence[str] = ()
    planned: Collection[str] = ()
    recorded: Collection[str] = ()
    plugins: Sequence[Plugin] = ()
    roles: Roles = field(default_factory=Roles)


def load(
    places: Sequence[Path],
    baseline: str | None = None,
    matrix: str | None = None,
    known: Iterable[CellRecord] = (),
) -> Loaded:
    """Read run directories, packs, published files and folders of these; their order does not matter.

    Args:
        baseline: the trainer that gains are measured against, instead of the matrices'.
        matrix: restricts to the cells of this matrix's latest plan.
        known: records of the one place, a run directory, as in `perbench.store.read_records`.

    Raises:
        PerbenchError: a place is absent or empty, or holds only damaged records; or the matrices have
            different baselines.
    """
    damaged: list[DamagedRecord] = []
    parts = [_part(place, matrix, damaged, known) for place in places]
    entries = [entry for part in parts for entry in part.entries]
    if not entries and damaged:
        raise PerbenchError("\n".join(map(str, damaged)))
    shown = {
        entry.record.identity
        for part in parts
        for entry in part.entries
        if entry.record.identity not in part.superseded
    }
    replaced = {old: new for part in parts for old, new in part.superseded.items()}
    unique = sorted(_once(entries), key=lambda entry: entry.record.identity)
    kept = tuple(entry for entry in unique if entry.record.identity in shown)
    superseded = tuple(
        (entry, replaced[entry.record.identity]) for entry in unique if entry.record.identity not in shown
    )
    specs = tuple(spec for part in parts for spec in part.matrices)
    planned, recorded = (
        {identity for part in parts for identity in getattr(part, name)} for name in ("planned", "recorded")
    )
    roles = joined([part.roles for part in parts])
    return Loaded(
        kept,
        superseded,
        trainings={identity: inputs for part in parts for identity, inputs in part.trainings.items()},
        baseline=_baseline(baseline, specs, {entry.record.labels.trainer for entry in kept} - {None}),
        matrices=specs,
        names=tuple(dict.fromkeys(name for part in parts for name in part.names)),
        damaged=tuple(damaged),
        waiting=len(planned - recorded),
        plugins=tuple(plugin for part in parts for plugin in part.plugins),
        choices=roles.choices,
        aside=roles.aside,
        settled=roles.settled,
        profiles=roles.profiles,
        baseline_target=_baseline_target(baseline, specs),
    )


def _part(
    place: Path, matrix: str | None, damaged: list[DamagedRecord], known: Iterable[CellRecord]
) -> PlaceResults:
    files = published_files(place)
    return _published(files, matrix, damaged) if files else _run(open_run(place), matrix, damaged, known)


def _run(
    opened: OpenedRun, matrix: str | None, damaged: list[DamagedRecord], known: Iterable[CellRecord]
) -> PlaceResults:
    before, run = len(damaged), opened.path
    found = read_records(run, damaged, known)
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
    entries, name_of_run = [], run.resolve().name
    for record, folder in found:
        if matrix is None or record.identity in planned:
            try:
                scores = read_scores(folder)
                there = isfile(f"{folder}/{SAMPLES}")
                left_out = None if there else samples_withheld(folder, record.identity)
            except DamagedRecord as damage:
                damaged.append(damage)
                continue
            here = partial(read_samples, folder, record.identity) if there else None
            why = left_out.why if left_out is not None else ""
            planned_now = record.identity in planned
            entries.append(Entry(record, scores, name_of_run, planned_now, here, opened.pack, why, folder))
    try:
        choices = choices_of(described, plans)
    except ValueError:
        damaged.append(DamagedRecord(run / "run.json", "its choices are not in their form", "run it again"))
        choices = {}
    profiles = {name: spec.get("profile") for name, spec in matrices.items()}
    return PlaceResults(
        entries,
        _replaced(entries),
        {record.identity: record.inputs for record, _ in found if record.kind == "train"},
        [matrices[name] for name in sorted(matrices)],
        [*chain.from_iterable(found for _, found in sorted(taking_part.items()))],
        planned,
        {record.identity for record, _ in found},
        opened.plugins,
        roles_of([record for record, _ in found], plans, choices, profiles),
    )


def _published(files: Sequence[Path], matrix: str | None, damaged: list[DamagedRecord]) -> PlaceResults:
    """Published cells are all shown: superseded ones of their runs were not published. Matrices of different
    submitters that name different baselines name none."""
    entries: list[Entry] = []
    cells: list[PublishedCell] = []
    matrices: dict[str, MatrixPart] = {}
    for file in files:
        try:
            found = read_published(file)
        except DamagedRecord as damage:
            damaged.append(damage)
            continue
        if matrix is None or matrix in found.matrices:
            entries += [_entry(cell, file) for _, cell in found.placed]
            cells += [cell for _, cell in found.placed]
            matrices |= {spec.model_dump_json(): spec for spec in found.matrices.values()}
    agreed = len({repr(spec.baseline) for spec in matrices.values() if spec.baseline is not None}) <= 1
    return PlaceResults(
        entries,
        trainings={one.record.identity: one.record.inputs for one in entries if one.record.kind == "train"},
        matrices=[
            matrices[key].model_copy(update={} if agreed else {"baseline": None}).model_dump()
            for key in sorted(matrices)
        ],
        recorded={entry.record.identity for entry in entries},
        roles=_published_roles(cells),
    )


def _published_roles(cells: Sequence[PublishedCell]) -> Roles:
    """Of published cells, each with the choices that it took part in."""
    plans = {cell.record.identity: [cell.record.identity] for cell in cells}
    choices = {cell.record.identity: cell.choices for cell in cells if cell.choices}
    found = roles_of([cell.record for cell in cells], plans, choices, {})
    profiles = {cell.record.identity: tuple(cell.profiles) for cell in cells if cell.profiles}
    return replace(found, profiles=profiles)


def _entry(cell: PublishedCell, file: Path) -> Entry:
    samples = cell.samples
    reads = None if samples is None else lambda: samples
    return Entry(cell.record, cell.scores, cell.run, True, reads, file)


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
    if all(entry.planned for entry in entries):
        return {}
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
    named = sorted({_trainer_of(spec["baseline"]) for spec in specs if spec.get("baseline")})
    if len(named) > 1:
        raise PerbenchError(
            f"the runs measure gains over different baselines: {', '.join(named)}; "
            f"choose one with --baseline {named[0]}, or build a page for each"
        )
    wanted = named[0] if named else default_baseline()
    return wanted if wanted in trainers else None


def _baseline_target(asked: str | None, specs: Sequence[Mapping[str, Any]]) -> str | None:
    """The variant of the target that gains are measured against, if all matrices with a baseline agree."""
    given = [spec["baseline"] for spec in specs if spec.get("baseline")] if asked is None else []
    found = {str(one.get("target")) if isinstance(one, Mapping) else None for one in given}
    return found.pop() if len(found) == 1 else None


def _trainer_of(baseline: str | Mapping[str, Any]) -> str:
    return baseline if isinstance(baseline, str) else str(baseline.get("trainer"))


def default_baseline() -> str | None:
    """The baseline of the first section that names one, used if no matrix names one."""
    found = sorted(plugins.classes("section").values(), key=lambda cls: cls.order)
    return next((cls.baseline for cls in found if cls.baseline), None)
