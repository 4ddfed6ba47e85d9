"""Checks that a run directory is unchanged, and that its numbers follow from its samples.

Nothing is generated or trained. Carefully resealed forgeries are detected only where values can be
recomputed: metrics and scores from the samples, samples against the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from perbench.contracts.data import Dataset
from perbench.contracts.run import Scored
from perbench.contracts.shown import tested
from perbench.data import load_examples
from perbench.disk.sealed import SealedJournal
from perbench.errors import PerbenchError
from perbench.matrix.cells import describe
from perbench.matrix.rescore import data_of, rescored, task_of
from perbench.matrix.weights import USERS
from perbench.published.follows import close
from perbench.published.labels import label_faults
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of, source_of
from perbench.store import CellRecord, DamagedRecord, Metric, RunDir, Scores
from perbench.store.cell import LEDGER, folder_name
from perbench.store.check import (
    LOG,
    SAMPLES,
    check_ids,
    read_record,
    read_samples,
    read_scores,
)
from perbench.store.rundir import cells_of
from perbench.store.withheld import SamplesWithheld
from perbench.training.checkpoint import checkpoint_faults
from perbench.training.per_user import user_adapters

GIVEN = ("user", "question", "reference")
"""Fields that a sample may copy from its example."""


@dataclass
class Checked:
    """One cell, or run.json. `faults`: what differs from what was written; `unchecked`: what could not be
    checked, and why; `metrics`: how many were recomputed and are equal; `status`: that of a cell of the
    latest plans, "" of others and of damaged ones."""

    name: str
    faults: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    metrics: int = 0
    status: Literal["", "done", "failed", "unfinished", "not started"] = ""


def verify(run: RunDir) -> Iterator[Checked]:
    """Check run.json and every cell of a run directory, finished or not, and name the planned cells that it
    does not hold; changes nothing.

    Raises:
        PerbenchError: it is not a run directory.
    """
    cells = cells_of(run.path)
    whole = Checked("run.json")
    described: dict[str, Any] = {}
    try:
        described = run.description()
    except DamagedRecord as damage:
        whole.faults.append(damage.what)
    if not described and not whole.faults:
        whole.unchecked.append("missing, so the matrices' changes to tasks are unknown")
    yield whole
    planned = {name for plan in described.get("plans", {}).values() for name in plan}
    records: dict[str, CellRecord] = {}
    for folder in sorted(cells.iterdir()):
        if not folder.is_dir():
            yield Checked(f"cells/{folder.name}", [f"{folder}: not the folder of a cell"])
            continue
        try:
            record = read_record(folder)
        except DamagedRecord as damage:
            yield Checked(f"cells/{folder.name}", [damage.what])
            continue
        if record is None:
            yield _unfinished(folder, planned)
        else:
            records[record.identity] = record
    for record in records.values():
        found = _finished(record, run, described.get("matrices", {}), records)
        if not planned or record.identity in planned:
            found.status = record.status
        yield found
    begun = {name.partition("-")[2] for name in run.begun()}
    for start in sorted({folder_name("eval", one).partition("-")[2] for one in planned} - begun):
        yield Checked(f"cell {start} (not started)", status="not started")


def _unfinished(folder: Path, planned: set[str]) -> Checked:
    found = Checked(f"cells/{folder.name} (unfinished)", status="unfinished")
    kind, _, start = folder.name.partition("-")
    owner = next((name for name in planned if name.startswith(start) and start), None)
    if owner is None:
        found.status = "" if planned else "unfinished"
        found.unchecked.append("not in a plan of run.json")
        return found
    if kind == "train":
        for step in sorted((folder / "checkpoint").glob("[!.]*/")):
            found.faults += checkpoint_faults(step) if step.name != USERS else []
    _journals(found, folder, owner)
    return found


def _journals(found: Checked, folder: Path, owner: str) -> None:
    """Check what no digest of a record covers, or did not while it was written."""
    for file in (folder / SAMPLES, folder / LEDGER, folder / LOG):
        try:
            lines = SealedJournal(file, owner).read()
        except OSError as error:
            found.faults.append(f"{file}: {error.strerror}")
            continue
        if lines.fault is not None:
            found.faults.append(f"{file}:{lines.fault[0]}: {lines.fault[1]}")
        if lines.unsealed:
            found.unchecked.append(
                f"{lines.unsealed} lines of {file.name} are from an older perbench, without seals"
            )


def _finished(
    record: CellRecord, run: RunDir, matrices: Mapping[str, Any], records: Mapping[str, CellRecord]
) -> Checked:
    found = Checked(describe(record.kind, record.labels))
    folder = run.cell(record.kind, record.identity).path
    if not record.verifiable:
        found.unchecked.append("a record from an older perbench: changes cannot be detected")
    trained = records.get(record.trained_by or "")
    found.faults += [f"{key} {fault}" for key, fault in label_faults(record, trained)]
    if record.kind == "train":
        for name, seal in record.weights.items():
            place = folder / "checkpoint" / name
            if not place.exists():
                found.unchecked.append(f"the weights {name} were deleted")
            elif name == USERS:
                found.faults += user_adapters(place, seal=seal)[1]
            else:
                found.faults += checkpoint_faults(place, seal=seal)
        if record.status == "done":
            found.unchecked.append("the training itself, which is not repeated")
    if record.kind == "train" or record.status != "done":
        _journals(found, folder, record.identity)
        return found
    try:
        samples = read_samples(folder, record.identity)
        check_ids(None, [str(sample.get("id")) for sample in samples], folder)
        stored = read_scores(folder)
    except SamplesWithheld as error:
        found.unchecked.append(f"metrics: {error}")
        return found
    except DamagedRecord as damage:
        found.faults.append(damage.what)
        return found
    try:
        task = task_of(record, matrices)
        scored = owner_of(task.spec).checked(samples)
    except PerbenchError as error:
        found.unchecked.append(f"metrics: {error}")
        return found
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        found.faults.append(f"{folder / SAMPLES}: cannot be scored: {type(error).__name__}: {error}")
        return found
    compare(found, record, rescored(record, task, scored))
    compare_scores(found, stored, scored, record)
    _compare_data(found, record, task, samples, folder)
    return found


def compare(found: Checked, record: CellRecord, new: Mapping[str, Any]) -> None:
    """Compare the record with what its samples give."""
    before = False
    for name, old in record.metrics.items():
        metric = new["metrics"].get(name)
        if metric is not None and metric.users is not None and old.users is None:
            before, metric = True, _without_interval(metric, old)
        if metric is None:
            found.unchecked.append(f"metric {name}: not available here, or no longer requested by the task")
        elif metric.signature != old.signature:
            found.unchecked.append(f"metric {name}: computed differently today ({metric.signature})")
        elif not _same(metric, old):
            found.faults.append(f"metric {name}: {old.value} in the record, {metric.value} from its samples")
        else:
            found.metrics += 1
    if before:
        found.unchecked.append("intervals by an older perbench's method; `perbench rescore` replaces them")
    for name, better in record.better.items():
        today = new["better"].get(name, "higher")
        if name in new["metrics"] and today != better:
            found.faults.append(f"better.{name}: {better} in the record, {today} by the protocol")
    for name, count in new["counts"].items():
        if name in record.counts and record.counts[name] != count:
            found.faults.append(f"counts.{name}: {record.counts[name]} in the record, {count} of its samples")


def _without_interval(new: Metric, old: Metric) -> Metric:
    """`new` with the intervals of `old`, which an older perbench computed by another method."""
    turns = list(new.by_turn)
    if len(turns) == len(old.by_turn):
        pairs = zip(turns, old.by_turn, strict=True)
        turns = [turn.model_copy(update={"ci": other.ci}) for turn, other in pairs]
    return new.model_copy(
        update={"ci": old.ci, "ci_method": None, "users": None, "bounds": None, "by_turn": turns}
    )


def _same(one: Metric, other: Metric) -> bool:
    return close(one.model_dump(mode="json"), other.model_dump(mode="json"))


def compare_scores(found: Checked, stored: Scores | None, scored: Scored, record: CellRecord) -> None:
    if stored is None:
        found.faults.append("scores.json is missing")
        return
    new = scored.scores
    if (stored.ids, stored.clusters) != (new.ids, new.clusters):
        found.faults.append("scores.json: other samples or users than the cell's")
        return
    for name, column in stored.scores.items():
        same = name in scored.metrics and name in record.metrics
        if same and scored.metrics[name].signature != record.metrics[name].signature:
            continue
        if name in new.scores and not close(new.scores[name], column):
            pairs = zip(new.scores[name], column, strict=True)  # `Scores` has one entry per sample
            place = next(i for i, pair in enumerate(pairs) if not close(*pair))
            found.faults.append(f"scores.json: {name} of {new.ids[place]!r} differs from its sample's")


def _compare_data(
    found: Checked, record: CellRecord, task: Named[TaskSpec], samples: Sequence[dict[str, Any]], folder: Path
) -> None:
    """Compare the samples with their examples, if these are available."""
    owner = owner_of(task.spec)
    found.unchecked += owner.unverified()
    if owner.late:
        return
    try:
        dataset, dev = _data(record, task, samples)
    except PerbenchError as error:
        found.unchecked.append(f"samples against their data: {error}")
        return
    ids = owner.sample_ids(dataset, dev)
    try:
        check_ids(ids, [sample["id"] for sample in samples], folder)
    except DamagedRecord as damage:
        found.faults.append(damage.what)
        return
    examples = {example.id: example for split in (dataset, dev) if split for example in split.examples}
    for sample in samples:
        example = examples[owner.example_of(sample["id"])]
        expected = dict(zip(GIVEN, (example.user, example.question, example.reference), strict=True))
        if record.kind == "identify":
            expected["response"] = expected.pop("reference")
        wrong = [key for key, value in expected.items() if key in sample and sample[key] != value]
        found.faults += [f"sample {sample['id']!r}: its {key} differs from the data" for key in wrong]


def _data(
    record: CellRecord, task: Named[TaskSpec], samples: Sequence[dict[str, Any]]
) -> tuple[Dataset, Dataset | None]:
    """The examples that the samples were made from, and those on which thresholds were chosen.

    Raises:
        PerbenchError: they are unavailable, or have changed.
    """
    with_dev = record.kind == "identify" and source_of(task.spec.data).has_train(task.folder)
    count = len({owner_of(task.spec).example_of(sample["id"]) for sample in tested(samples)})
    test, limit = data_of(record, task, count)
    return test, load_examples(task, "train", limit) if with_dev else None
