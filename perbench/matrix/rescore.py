"""Recomputes metrics and scores from stored samples, without generation or training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perbench.contracts.data import Dataset
from perbench.contracts.run import Scored
from perbench.data import load_examples
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import helper_inputs
from perbench.matrix.cells import describe
from perbench.matrix.identity import (
    COMPUTED,
    EVAL_VERSION,
    IDENTIFY_VERSION,
    Inputs,
    differing,
    target_inputs,
)
from perbench.matrix.overlaps import overlap_notes
from perbench.shapes.base import Named
from perbench.shapes.task import Split, TaskSpec
from perbench.specs.compose import helpers_of, owner_of, owners
from perbench.specs.grid import leaves
from perbench.specs.load import load_model, load_task
from perbench.specs.rows import moved_rows, targets_in
from perbench.store import CellRecord, DamagedRecord, RunDir, read_records
from perbench.store.check import samples_withheld
from perbench.store.ledger import caveats

SCORING = ("metrics", "headline")
"""Keys of a task that, like those of metrics, change its scores only."""
ABSENT = "absent"
"""Marks a helper model whose weights are not on this machine."""
ELSEWHERE = (".address", f".{COMPUTED}")
"""Ends of keys of helper models that differ between machines."""
VERSIONS = {"eval": EVAL_VERSION, "identify": IDENTIFY_VERSION}


def rescore(
    run: RunDir, notify: Callable[[str], None], damaged: list[DamagedRecord]
) -> Iterator[tuple[CellRecord, CellRecord]]:
    """Yield (old, new) records of every finished evaluation. The caller holds the lock. Damaged cells are
    appended to `damaged` and left unchanged.

    Metrics, headline and reported turns are those of the current task with the run's overrides; everything
    that affects samples must be unchanged. Stale records of earlier plans are left unchanged; `notify` gets
    the reason.

    Raises:
        PerbenchError: a task of the latest plans no longer exists, or would give other samples; a cell cannot
            be scored.
    """
    before = len(damaged)
    try:
        described = run.description()
    except DamagedRecord as damage:
        damaged.append(damage)
        notify(str(damage))
        return
    records = [record for record, _ in read_records(run.path, damaged)]
    for found in damaged[before:]:
        notify(f"damaged, not changed: {found}")
    planned = set(chain.from_iterable(described.get("plans", {}).values()))
    for old in records:
        if old.kind == "train" or old.status != "done":
            continue
        cell = run.cell(old.kind, old.identity)
        if (left_out := samples_withheld(cell.path, old.identity)) is not None:
            notify(f"[{describe(old.kind, old.labels)}]: not changed: {left_out}")
            continue
        try:
            task = task_of(old, described.get("matrices", {}))
        except PerbenchError as error:
            if old.identity in planned:
                raise
            notify(f"of an earlier plan, not changed: {error}")
            continue
        try:
            scored = owner_of(task.spec).checked(cell.samples())
        except PerbenchError as error:
            raise PerbenchError(f"[{describe(old.kind, old.labels)}]: {error}") from error
        new = old.model_copy(update=rescored(old, task, scored))
        cell.write_scores(scored.scores)
        cell.finish(new)
        yield old, new


def rescored(old: CellRecord, task: Named[TaskSpec], scored: Scored) -> dict[str, Any]:
    """The fields of a record that come from its samples."""
    counts = {**old.counts, **scored.counts}
    return {
        "headline": task.spec.headline,
        "metrics": scored.metrics,
        "better": owner_of(task.spec).better(scored.metrics),
        "counts": counts,
        "notes": [*scored.notes, *overlap_notes(old.labels, counts), *caveats(old.endpoints), *old.run_notes],
    }


def task_of(
    record: CellRecord, matrices: Mapping[str, Any], data: Mapping[str, Path] = MappingProxyType({})
) -> Named[TaskSpec]:
    """The task of a record's samples, as in its run's matrices; `data` as in `load_task`.

    Raises:
        PerbenchError: it no longer exists, or differs from the one that made the samples.
    """
    try:
        return same_task(record, matrices, data)
    except OtherTask as error:
        raise PerbenchError(f"[{describe(record.kind, record.labels)}]: {error}") from None


class OtherTask(PerbenchError):
    """The task differs from the one that made the samples."""


def same_task(
    record: CellRecord,
    matrices: Mapping[str, Any],
    data: Mapping[str, Path],
    *,
    scoring: bool = True,
    helpers: bool = True,
) -> Named[TaskSpec]:
    """As `task_of`, with an OtherTask that does not name the cell. Without `scoring`, the matrices' metrics
    need not be installed: the task has those of its file. Without `helpers`, the models of judges and the
    like need not be here: those that are not are not compared.

    Records and matrices may be a stranger's, and reading them must execute nothing of theirs: tasks are
    looked up by name only, and a matrix that takes rows from elsewhere than a file of rows is refused.
    """
    name = record.inputs["target"]["name"]
    if record.inputs["version"] != VERSIONS[record.kind]:
        raise OtherTask(
            f"its samples are of protocol version {record.inputs['version']}; this perbench reads "
            f"{VERSIONS[record.kind]}: run the matrix again"
        )
    if str(name).endswith((".yaml", ".yml")):
        raise PerbenchError(f"its task {name} is a file, not a name")
    unscored = {*SCORING, *(key for cls in owners("metric").values() for key in cls.Keys.model_fields)}
    changed: list[list[str]] = []
    rows = [given for matrix in matrices.values() for given in _overrides(matrix, name)] or [({}, {})]
    for groups in rows:
        if odd := [key for given in groups for key in moved_rows(given) if key != "data.files"]:
            raise OtherTask(f"the matrix takes the task's rows from elsewhere ({odd[0]}), which is not read")
        shared, own = (
            {key: value for key, value in given.items() if scoring or key not in unscored} for given in groups
        )
        task = load_task(name, data=data, shared=shared, overrides=own)
        wanted = target_inputs(name, task.spec, _helpers(task.spec, absent=not helpers))
        unknown = tuple(f"{'.'.join(path[:-1])}." for path in leaves(wanted) if path[-1] == ABSENT)
        paths = differing(record.inputs["target"], wanted)
        # The judge's current address, and what this machine would compute in, do not affect stored samples.
        changed.append(
            [path for path in paths if not path.endswith(ELSEWHERE) and not path.startswith(unknown)]
        )
        if not changed[-1]:
            return task
    fewest = ", ".join(sorted(changed, key=len)[0])
    raise OtherTask(
        f"task {name} differs from the one that made its samples ({fewest}); restore it, or run the matrix "
        "again"
    )


def data_of(record: CellRecord, task: Named[TaskSpec], count: int) -> tuple[Dataset, int | None]:
    """The examples, of the test or validation split, of a record's `count` examples with samples, and the
    limit under which they were read.

    Raises:
        PerbenchError: they are unavailable, or have changed.
    """
    splits: tuple[Split, ...] = ("test",) if task.spec.data.val_split is None else ("test", "val")
    for split in splits:
        for limit in (None, count):  # `--limit` is not recorded
            found = load_examples(task, split, limit)
            if found.digest == record.inputs["data"]:
                return found, limit
    raise PerbenchError("the data have changed")


def _overrides(matrix: Mapping[str, Any], name: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """A matrix's changes to a task: those of `tasks`, and those of each row that names it."""
    shared = matrix["tasks"].get(name, {})
    named = [variant for variant in targets_in(matrix) if variant.task == name]
    return [(shared, variant.overrides) for variant in named] or [(shared, {})]


def _helpers(spec: TaskSpec, *, absent: bool = False) -> dict[str, Inputs]:
    """With `absent`, models that are not here are marked as such."""
    found: dict[str, Inputs] = {}
    for name in helpers_of(spec):
        try:
            found[name] = helper_inputs(load_model(name))
        except PerbenchError:
            if not absent:
                raise
            found[name] = {ABSENT: True}
    return found
