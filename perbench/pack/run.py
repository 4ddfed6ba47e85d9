"""The part of a pack that is the run directory: records, scores, logs, samples or their digests, weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perbench.disk.sealed import seal
from perbench.errors import PerbenchError
from perbench.matrix.cells import describe
from perbench.matrix.licence import withheld_texts
from perbench.pack.used import Used
from perbench.progress import counted
from perbench.specs.rows import task_of
from perbench.store import CellRecord, RunDir, read_records
from perbench.store.check import SAMPLES, SCORES, read_samples, samples_withheld
from perbench.store.pack import CHECKPOINT, RUN_PART, PackedTask
from perbench.store.rundir import RUN, cells_of
from perbench.store.withheld import WITHHELD, withheld


@dataclass
class RunFiles:
    """`members`: content or file by place in the pack; `records`: all that are packed; `planned`: the
    identities of the latest plans; `withheld`: tasks whose samples are not packed."""

    members: dict[str, bytes | Path] = field(default_factory=dict)
    records: list[CellRecord] = field(default_factory=list)
    planned: set[str] = field(default_factory=set)
    withheld: list[PackedTask] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def described(run: Path) -> dict[str, Any]:
    """run.json of a run that may be packed.

    Raises:
        PerbenchError: it is not a run directory, or damaged, or nothing of it says what ran.
    """
    cells_of(run)
    found = RunDir(run).description()
    if not found:
        raise PerbenchError(f"{run} has no run.json, which says what ran; run its matrix again")
    return found


def run_files(run: Path, found: Mapping[str, Any], used: Used, *, weights: bool) -> RunFiles:
    """The files of a run, of which `found` is run.json with the names as in the pack.

    Raises:
        PerbenchError: records are damaged or of an older perbench, or there is none; `weights` that are
            missing.
    """
    files = RunFiles(planned={name for plan in found["plans"].values() for name in plan})
    sealed = seal(found, RUN)
    files.members[f"{RUN_PART}{RUN}"] = json.dumps(sealed, indent=1).encode()
    counts: dict[tuple[str, str], int] = {}
    for record, folder in read_records(run):
        if not record.verifiable:
            raise PerbenchError(
                f"{folder}: a record of an older perbench has no digests; run `perbench rescore {run}` first"
            )
        files.records.append(record)
        _cell(files, record, folder, used, counts)
        if weights and record.status == "done":
            _weights(files, record, folder)
    if not files.records:
        raise PerbenchError(f"{run} has no finished cells yet; finish it with `perbench run … --out {run}`")
    missing = len(files.planned - {record.identity for record in files.records})
    if missing:
        files.notes.append(
            f"{counted(missing, 'planned cell')} not finished; `perbench run --from` runs them"
        )
    files.withheld = [
        PackedTask(task=task, why=why, cells=number) for (task, why), number in sorted(counts.items())
    ]
    return files


def _cell(
    files: RunFiles, record: CellRecord, folder: Path, used: Used, counts: dict[tuple[str, str], int]
) -> None:
    place = f"{RUN_PART}cells/{folder.name}/"
    names = ["cell.json", *record.files]
    if record.status != "done":
        names += [SCORES] if (folder / SCORES).exists() else []
    if SAMPLES in names:
        already, label = samples_withheld(folder, record.identity), record.labels.target or ""
        task = used.tasks.get(label)
        why = task.withheld if task is not None else withheld_texts(None, elsewhere=False)
        why = already.why if already is not None else why
        if why is not None:
            names.remove(SAMPLES)
            counts[task_of(label), why] = counts.get((task_of(label), why), 0) + 1
            files.members[place + WITHHELD] = folder / WITHHELD if already else _digests(record, folder, why)
    files.members |= {place + name: folder / name for name in names}


def _digests(record: CellRecord, folder: Path, why: str) -> bytes:
    content = withheld(record.identity, why, read_samples(folder, record.identity))
    return (json.dumps(content, indent=1) + "\n").encode()


def _weights(files: RunFiles, record: CellRecord, folder: Path) -> None:
    for name in record.weights:
        whole = folder / CHECKPOINT.strip("/") / name
        if not whole.is_dir():
            raise PerbenchError(
                f"[{describe(record.kind, record.labels)}]: {whole} is missing; run the matrix again to "
                "train it, or pack without --weights"
            )
        for file in sorted(whole.rglob("*")):
            inner = file.relative_to(folder)
            if file.is_file() and not any(part.startswith(".") for part in inner.parts):
                files.members[f"{RUN_PART}cells/{folder.name}/{inner.as_posix()}"] = file
