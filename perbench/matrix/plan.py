"""The actions of a run, cell by cell, with reasons; reads records and data, but does not import torch."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from perbench.disk.digests import file_sha256
from perbench.errors import PerbenchError
from perbench.heap import growing
from perbench.lm.native import USUAL
from perbench.matrix.cells import Cell
from perbench.matrix.identity import COMPUTED, changes, differing
from perbench.matrix.weights import USERS, trained_weights
from perbench.progress import counted
from perbench.specs.compose import owner_of
from perbench.store import CellRecord, DamagedRecord, Labels, RunDir, read_records
from perbench.store.cell import folder_name
from perbench.store.check import check_ids, read_ids
from perbench.store.record import Better

Action = Literal["reuse", "resume", "run"]
SHOWN = 4
"""Maximum differing inputs in a reason."""


@dataclass(frozen=True)
class Step:
    """A cell, its action, and the reason."""

    cell: Cell
    action: Action
    reason: str
    damage: DamagedRecord | None = None
    """The damaged part of its record that is recomputed."""
    record: CellRecord | None = None
    """The record that is reused."""
    rescore: str = ""
    """How its scores differ from what the task's present settings would give, if they do."""


@dataclass(frozen=True)
class Plan:
    """`damaged`: faults of records in the run directory, including those of other cells; `past`: all of its
    records."""

    steps: tuple[Step, ...]
    damaged: tuple[DamagedRecord, ...] = ()
    past: tuple[CellRecord, ...] = ()

    @property
    def todo(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.action != "reuse")

    def without(self, tried: Collection[str]) -> Plan:
        """The plan, in which cells that were just worked are not worked again."""
        kept = (
            replace(step, action="reuse", reason="worked before") if step.cell.identity in tried else step
            for step in self.steps
        )
        return replace(self, steps=tuple(kept))

    def counts(self) -> dict[str, int]:
        """Number of cells by action: {"train": 2, "eval": 6, "identify": 0, "reuse": 12}."""
        counts = {"train": 0, "eval": 0, "identify": 0, "reuse": 0}
        for step in self.steps:
            counts["reuse" if step.action == "reuse" else step.cell.kind] += 1
        return counts

    def kept(self, run: RunDir) -> str:
        """What remains after an interruption, read from disk."""
        done = self.counts()["reuse"]
        begun = [f"\n  of {step.cell}: {step.reason}" for step in self.steps if step.action == "resume"]
        return (
            f"Kept in {run.path}: {done} of {counted(len(self.steps), 'cell')}{''.join(begun)}\n"
            "Run the same command to resume."
        )


@growing()
def make_plan(cells: Sequence[Cell], run: RunDir) -> Plan:
    """Compare the cells with the run directory's records, without changing anything.

    Raises:
        PerbenchError: records of these cells were written by another perbench; all are listed.
    """
    damaged: list[DamagedRecord] = []
    found = read_records(run.path, damaged) if (run.path / "cells").is_dir() else []
    names = {folder_name(cell.kind, cell.identity) for cell in cells}
    if foreign := [damage for damage in damaged if not damage.redo and damage.folder.name in names]:
        raise PerbenchError("\n".join(map(str, foreign)))
    state = _RunState.of(run, found, damaged, {cell.identity for cell in cells})
    steps = [_step(cell, run, state) for cell in cells]
    wanted = {
        step.cell.needs.identity for step in steps if step.action != "reuse" and step.cell.needs is not None
    }
    return Plan(
        tuple(_retrain(step, run) if step.cell.identity in wanted else step for step in steps),
        tuple(state.damaged),
        tuple(record for record, _ in found),
    )


Place = tuple[Any, ...]


@dataclass(frozen=True)
class _RunState:
    """What a run directory holds, by the name of a cell's folder."""

    begun: Set[str]
    records: Mapping[str, CellRecord]
    damaged: list[DamagedRecord]
    faults: dict[str, DamagedRecord]
    """The first of a cell."""
    others: Mapping[Place, Sequence[CellRecord]]
    """Records of other cells, by row and column."""
    signatures: dict[int, Mapping[str, str]] = field(default_factory=dict)
    """`Protocol.signatures` of a task's spec, by its id()."""
    better: dict[tuple[int, tuple[str, ...]], Mapping[str, Better | None]] = field(default_factory=dict)
    """`Protocol.better`, by the id() of a task's spec and metrics."""

    @staticmethod
    def of(
        run: RunDir,
        found: Sequence[tuple[CellRecord, Path]],
        damaged: list[DamagedRecord],
        planned: Set[str],
    ) -> _RunState:
        others = defaultdict(list)
        for record, _ in found:
            if record.identity not in planned:
                others[_place(record.kind, record.labels)].append(record)
        state = _RunState(
            set(os.listdir(run.path / "cells")) if (run.path / "cells").is_dir() else set(),
            {folder.name: record for record, folder in found},
            [],
            {},
            others,
        )
        for damage in damaged:
            state.damage(damage)
        return state

    def damage(self, damage: DamagedRecord) -> None:
        self.damaged.append(damage)
        self.faults.setdefault(damage.folder.name, damage)


def _retrain(step: Step, run: RunDir) -> Step:
    """Repeat a finished training whose weights are deleted or damaged if an evaluation needs them."""
    if step.action != "reuse":
        return step
    folder = run.cell("train", step.cell.identity)
    faults = trained_weights(step.cell, folder, folder.record(), file_sha256).faults
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Step(step.cell, "run", f"its weights: {faults[0]}{more}") if faults else step


def _step(cell: Cell, run: RunDir, state: _RunState) -> Step:
    name = folder_name(cell.kind, cell.identity)
    if name not in state.begun:
        return _new(cell, state)
    record = state.records.get(name)
    if record is not None and record.status == "done" and not record.verifiable and cell.kind != "train":
        path = run.cell(cell.kind, cell.identity).path
        try:
            check_ids(cell.sample_ids, read_ids(path, cell.identity), path)
        except DamagedRecord as damage:
            state.damage(damage)
    if fault := state.faults.get(name):
        return Step(cell, "run", f"damaged: {fault.what}", fault)
    if record is not None and record.status == "done":
        differs = ", ".join(_differs(cell, record, state))
        lacks = ", ".join(filter(None, (_absent(cell, record), differs)))
        hint = f"; {lacks}: `perbench rescore {run.path}` computes what can be computed here" if lacks else ""
        return Step(cell, "reuse", f"finished {record.finished}{hint}", record=record, rescore=differs)
    if record is not None:
        message = record.error.message.partition("\n")[0] if record.error else "unknown error"
        return Step(cell, "run", f"failed before: {message}")
    folder = run.cell(cell.kind, cell.identity)
    if cell.kind == "train":
        found = _checkpoint(folder.checkpoint)
        if found is not None:
            return Step(cell, "resume", found)
    elif stored := folder.stored():
        return Step(cell, "resume", f"{counted(stored, 'sample')} stored")
    return _new(cell, state)


def _absent(cell: Cell, record: CellRecord) -> str:
    """The metrics that a finished evaluation lacks, such as those whose data were not there."""
    absent = [name for name in cell.task.spec.metrics if name not in record.metrics]
    return f"without {', '.join(absent)}" if absent and cell.kind == "eval" else ""


def _differs(cell: Cell, record: CellRecord, state: _RunState) -> Iterator[str]:
    """How a finished cell's scores differ from those that its task asks for now."""
    if cell.kind == "train":
        return
    spec = cell.task.spec
    if id(spec) not in state.signatures:  # many cells share a task
        state.signatures[id(spec)] = owner_of(spec).signatures()
    known = record.metrics
    others = [
        name
        for name, signature in state.signatures[id(spec)].items()
        if name in known and not f"{known[name].signature}|".startswith(f"{signature}|")
    ]
    if others:
        yield f"{', '.join(others)} of other settings or an older perbench"
    key = id(spec), tuple(known)
    if key not in state.better:
        state.better[key] = owner_of(spec).better(known)
    if record.better != (better := state.better[key]):
        turned = [name for name in known if record.better_of(name) != better.get(name, "higher")]
        yield f"which values of {', '.join(turned)} are better"
    if record.headline != spec.headline:
        yield f"headline {record.headline}, not {spec.headline}"


def _new(cell: Cell, state: _RunState) -> Step:
    changed = _changed(cell, state.others.get(_place(cell.kind, cell.labels), ()))
    return Step(cell, "run", f"stale: {changed} changed since" if changed else "no record")


def _checkpoint(folder: Path) -> str | None:
    if (folder / "final").is_dir():
        own = len([*(folder / USERS).glob("*/final")])
        return "trained, not yet recorded" + (f"; {counted(own, 'user adapter')}" if own else "")
    steps = [int(path.name.removeprefix("step-")) for path in folder.glob("step-" + "[0-9]" * 6)]
    return f"checkpoint at step {max(steps)}" if steps else None


def _changed(cell: Cell, same: Sequence[CellRecord]) -> str | None:
    """The inputs that differ from the nearest earlier record of the `same` row and column."""
    if not same:
        return None
    nearest = min(same, key=lambda record: len(differing(record.inputs, cell.inputs)))
    paths = changes(nearest.inputs, cell.inputs)
    if paths == [COMPUTED]:
        known = cell.inputs.get(COMPUTED, USUAL)
        return f"{COMPUTED} (`dtype: auto` is {known} here, and {known} was not recorded)"
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


def _place(kind: str, labels: Labels) -> Place:
    return kind, labels.model, labels.trainer, labels.source, labels.target, labels.identifier, labels.seed
