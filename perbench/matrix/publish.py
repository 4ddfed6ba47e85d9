"""Writes a run's results as published files: `perbench leaderboard add`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perbench.contracts.results import Entry, Loaded
from perbench.disk.files import write_text
from perbench.disk.masking import without_paths
from perbench.errors import PerbenchError
from perbench.matrix.cells import describe
from perbench.matrix.licence import withheld_texts
from perbench.published import read_published
from perbench.published.follows import score_faults
from perbench.published.form import file_name, file_value, text_of
from perbench.published.read import AGAIN
from perbench.published.rules import faults_of
from perbench.published.shape import MOST_BYTES, SCHEMA, MatrixPart, Published, PublishedCell
from perbench.site.load import load
from perbench.specs.load import load_task
from perbench.specs.rows import targets_in
from perbench.specs.rows import task_of as task_name
from perbench.store import CellRecord, DamagedRecord, RunDir, read_records
from perbench.store.check import read_samples, samples_withheld
from perbench.store.pack import open_run
from perbench.store.selection import Choice
from perbench.store.withheld import sample_digests


@dataclass
class Added:
    """`files` by what happened to them: "new", "changed" or "unchanged"; `left_out`: cells that cannot be
    published, with the reason; `digests_only`: tasks whose samples are not, with the reason."""

    files: dict[Path, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    digests_only: dict[str, str] = field(default_factory=dict)


def publish(run: Path, out: Path, *, samples: bool = False) -> Added:
    """Write the cells that the run shows to files in `out`, one per method and target. Cells of other runs
    in the same files (other seeds) are kept.

    Args:
        samples: also publish the samples of tasks that are `redistributable`, and the digests of others.

    Raises:
        PerbenchError: `run` is no run directory or pack, or has no finished cells; a file to be changed is
            damaged.
    """
    run = open_run(run).path
    loaded = load([run])
    added = Added(left_out=list(map(str, loaded.damaged)))
    described = RunDir(run).description()
    folders = {record.identity: folder for record, folder in read_records(run, [])}
    taken = _Taken(loaded, described.get("matrices", {}), folders, added, samples)
    trainings = {entry.record.identity: entry for entry in loaded.entries if entry.record.kind == "train"}
    evaluated = {entry.record.trained_by for entry in loaded.entries}
    if out.exists() and not out.is_dir():
        raise PerbenchError(f"{out} is a file; name a folder: --out FOLDER")
    files: dict[str, Published] = {}
    for entry in loaded.entries:
        record = entry.record
        training = trainings.get(record.trained_by or "")
        if record.kind == "train" and record.identity in evaluated:
            continue
        if record.trained_by is not None and training is None:
            fault = "the record of its training is missing; run its matrix again"
            added.left_out.append(f"{describe(record.kind, record.labels)}: {fault}")
            continue
        name = file_name(record, training.record if training is not None else None)
        part = taken.part(entry, training, described.get("plans", {}))
        files[name] = _joined(files.get(name, Published(schema_version=SCHEMA)), part)
    out.mkdir(parents=True, exist_ok=True)
    for name, published in sorted(files.items()):
        _write(out / name, published, added)
    return added


@dataclass(frozen=True)
class _Taken:
    """Takes cells of a run for publication."""

    loaded: Loaded
    matrices: Mapping[str, Any]
    folders: Mapping[str, Path]
    added: Added
    samples: bool

    def part(self, entry: Entry, training: Entry | None, plans: Mapping[str, Sequence[str]]) -> Published:
        """A file with this cell alone."""
        record = entry.record
        named = {name: spec for name, spec in self.matrices.items() if record.identity in plans.get(name, ())}
        target = task_name(record.labels.target or "")
        return Published(
            schema_version=SCHEMA,
            cells=[self._cell(entry)] if record.kind != "train" else [],
            trainings=[self._cell(one) for one in (training, entry) if one and one.record.kind == "train"],
            matrices={name: _part_of(spec, target) for name, spec in named.items()},
        )

    def _cell(self, entry: Entry) -> PublishedCell:
        record = _without_paths(entry.record)
        done = record.status == "done" and record.kind != "train"
        digests, samples = self._samples(entry.record) if done and self.samples else ([], None)
        return PublishedCell(
            record=record,
            run=entry.run,
            scores=entry.scores if done else None,
            choices=self._choices(entry.record),
            profiles=list(self.loaded.profiles.get(entry.record.identity, ())),
            digests=digests,
            samples=samples,
            sha256="",
        )

    def _choices(self, record: CellRecord) -> list[Choice]:
        """The choices in which a cell took part, or its training; of a result, those that made it one."""
        training = record.trained_by or record.identity
        if record.identity not in self.loaded.aside:
            return list(self.loaded.settled.get(training, ()))
        return [one for one in self.loaded.choices if training in one.trainings]

    def _samples(self, record: CellRecord) -> tuple[list[str], list[dict[str, Any]] | None]:
        folder, rows = self.folders[record.identity], None
        reason: str | None
        if (left_out := samples_withheld(folder, record.identity)) is not None:
            digests, reason = [*left_out.samples.values()], str(left_out)
        else:
            rows = read_samples(folder, record.identity)
            digests = [*sample_digests(record.identity, rows).values()]
            reason = withheld(record, self.matrices)
        if reason is not None:
            self.added.digests_only[record.labels.target or ""] = reason
        return digests, None if reason else rows


def withheld(record: CellRecord, matrices: Mapping[str, Any]) -> str | None:
    """Why the samples of a cell must not be published, or None."""
    name = task_name(record.labels.target or "")
    if name.endswith((".yaml", ".yml")):
        return "its task is a file, not a name"
    try:
        task = load_task(name).spec
    except PerbenchError:
        return withheld_texts(None, elsewhere=False)
    variants = [variant for spec in matrices.values() for variant in targets_in(spec)]
    changed = {key for variant in variants if variant.task == name for key in variant.overrides}
    changed |= {key for spec in matrices.values() for key in spec.get("tasks", {}).get(name, {})}
    return withheld_texts(task, elsewhere=any(key.partition(".")[0] == "data" for key in changed))


def _without_paths(record: CellRecord) -> CellRecord:
    changed: dict[str, Any] = {
        "command": without_paths(record.command),
        "notes": list(map(without_paths, record.notes)),
        "run_notes": list(map(without_paths, record.run_notes)),
    }
    if record.error is not None:
        texts = {name: without_paths(getattr(record.error, name)) for name in ("message", "traceback")}
        changed["error"] = record.error.model_copy(update=texts)
    return record.model_copy(update=changed)


def _part_of(spec: Mapping[str, Any], target: str) -> MatrixPart:
    rows = [row for row in spec["targets"] if (row if isinstance(row, str) else row["task"]) == target]
    known = [variant.overrides for variant in targets_in({"targets": rows})]
    for variant in targets_in(spec):
        if variant.task == target and variant.overrides not in known:
            rows.append({"task": target, **variant.overrides})
            known.append(variant.overrides)
    return MatrixPart(
        summary=spec.get("summary", ""),
        baseline=spec.get("baseline"),
        targets=_plain(rows),
        tasks=_plain({name: keys for name, keys in spec.get("tasks", {}).items() if name == target}),
    )


def _plain(value: Any) -> Any:
    """`value` without the folders of paths in it."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _joined(old: Published, new: Published) -> Published:
    """Both, each cell once: a finished one before a failed one, then the newer."""
    cells, trainings = (
        {cell.record.identity: cell for cell in sorted([*before, *after], key=_rank)}
        for before, after in ((old.cells, new.cells), (old.trainings, new.trainings))
    )
    return Published(
        schema_version=SCHEMA,
        cells=list(cells.values()),
        trainings=list(trainings.values()),
        matrices={**old.matrices, **new.matrices},
    )


def _rank(cell: PublishedCell) -> tuple[bool, str]:
    return cell.record.status == "done", cell.record.finished


def _write(path: Path, published: Published, added: Added) -> None:
    before = None
    if path.exists() or path.is_symlink():
        try:
            before = read_published(path)
        except DamagedRecord as damage:
            raise PerbenchError(f"{damage.what}; delete it, then publish again") from None
        published = _joined(before, published)
    text = text_of(file_value(published))
    published = Published.model_validate_json(text)  # as it will be read
    size = len(text.encode("utf-8"))
    if size > MOST_BYTES:
        added.left_out.append(
            f"{path.name}: {size:,} bytes, over {MOST_BYTES:,}; publish it without --samples"
        )
        return
    if faults := [*faults_of(published), *score_faults(published)[0]]:
        added.left_out += [
            f"{path.name}: {fault if fault.way_out != AGAIN else ': '.join(fault[:2])}" for fault in faults
        ]
        return
    known = before is not None and path.read_text("utf-8") == text
    if not known:
        write_text(path, text)
    added.files[path] = "unchanged" if known else "new" if before is None else "changed"
