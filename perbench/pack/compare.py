"""Compares a pack with this machine: plugins and data before a run, repeated cells after it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from perbench import plugins
from perbench.disk.digests import read_sha256
from perbench.matrix.catalogue import UNRESOLVED
from perbench.matrix.cells import Cell, describe
from perbench.matrix.identity import changes
from perbench.progress import counted
from perbench.store import CellRecord, DamagedRecord
from perbench.store.cell import cell_folder
from perbench.store.check import RECORD, SAMPLES, SCORES, read_record, read_samples
from perbench.store.pack import RUN_PART, Pack, PackedPlugin
from perbench.store.withheld import WITHHELD, sample_digests

SHORT = 12
"""Digits of a digest in messages."""
LOGGED = ("loss", "grad_norm")
MOST = 10
"""Repeated cells that are listed."""


def other_plugins(pack: Pack) -> list[tuple[PackedPlugin, str | None]]:
    """The pack's plugins that are not the ones found here, with the digest here, None for an absent one.

    Raises:
        PerbenchError: faults of the roots here.
    """
    here = plugins.discover()
    found = []
    for one in pack.manifest.plugins:
        plugin = here.get((one.kind, one.name))
        digest = plugin.digest() if plugin is not None else None
        if digest != one.sha256:
            found.append((one, digest))
    return found


def explained(pack: Pack, cells: Sequence[Cell]) -> Iterator[str]:
    """Why planned cells are not those of the pack, which has other ones of the same names: a line for each
    set of examples that differs, and for each other input."""
    there = {Path(name).parent.name for name in pack.names(RUN_PART)}
    new = [cell for cell in cells if cell_folder(Path(), cell.kind, cell.identity).name not in there]
    named = {
        (record.kind, record.labels.model_dump_json()): record for record in (_records(pack) if new else ())
    }
    data: dict[str, None] = {}
    inputs: Counter[str] = Counter()
    for cell in new:
        old = named.get((cell.kind, cell.labels.model_dump_json()))
        if UNRESOLVED in str(cell.inputs):
            continue  # what is not on this machine is reported anyway
        for path in changes(old.inputs, cell.inputs) if old is not None else ():
            if old is not None and path in ("data", "dev"):
                data[_other_data(pack, old, cell, path)] = None
            elif path != "train":  # whose own cell says why
                inputs[path] += 1
    yield from data
    for path, count in sorted(inputs.items()):
        yield f"{path} is not the pack's in {counted(count, 'cell')}, which cannot be reused"


def _other_data(pack: Pack, old: CellRecord, cell: Cell, path: str) -> str:
    label = (cell.labels.source if cell.kind == "train" else cell.labels.target) or ""
    split = "train" if cell.kind == "train" or path == "dev" else "test"
    before, after = str(old.inputs.get(path)), str(cell.inputs.get(path))
    get = next((f"; to get them: {one.get}" for one in pack.manifest.data if one.task == label), "")
    return (
        f"the {split} examples of {label} are not the pack's (sha256 {after[:SHORT]}… here, "
        f"{before[:SHORT]}… in the pack), so its cells cannot be reused{get}"
    )


def _records(pack: Pack) -> Iterator[CellRecord]:
    names = [name for name in pack.names(RUN_PART) if name.endswith(f"/{RECORD}")]
    return map(CellRecord.model_validate_json, pack.archive.read_all(names))


def repeated(pack: Pack, out: Path) -> list[str]:
    """Which cells of the pack were run again in `out`, and whether they came out equal: one line for all,
    then one for each of the first MOST, those that did not before the others."""
    again = []
    for name in pack.names(RUN_PART):
        file = out / name.removeprefix(RUN_PART)
        if name.endswith(f"/{RECORD}") and _changed(file, pack.archive.members[name]["sha256"]):
            again.append((name, file.parent))
    found = []
    for (name, folder), content in zip(again, pack.archive.read_all(name for name, _ in again), strict=True):
        old = CellRecord.model_validate_json(content)
        try:
            new = read_record(folder)
        except DamagedRecord:
            continue  # reported by the run
        if new is None or new.status != "done" or old.status != "done":
            continue
        if (new.started, new.finished) != (old.started, old.finished):  # else only its names have changed
            found.append(
                (describe(new.kind, new.labels), _difference(pack, Path(name).parent, old, new, folder))
            )
    if not found:
        return []
    equal = sum(difference is None for _, difference in found)
    found.sort(key=lambda pair: pair[1] is None)
    return [
        f"{counted(len(found), 'cell')} of the pack repeated: {equal} equal to it, {len(found) - equal} not",
        *(
            f"  {'equal' if difference is None else 'NOT EQUAL'} [{cell}]{difference or ''}"
            for cell, difference in found[:MOST]
        ),
        *([f"  and {len(found) - MOST} more"] if len(found) > MOST else []),
    ]


def _changed(path: Path, digest: str) -> bool:
    try:
        return read_sha256(path) != digest
    except OSError:
        return False


def _difference(pack: Pack, place: Path, old: CellRecord, new: CellRecord, folder: Path) -> str | None:
    """How a repeated cell differs from the pack's; None if it is equal: a training in the losses and gradient
    norms of its log, an evaluation in its samples and scores."""
    if new.kind == "train":
        logs = [[[row.get(key) for key in LOGGED] for row in record.training_log] for record in (old, new)]
        last = [f"{log[-1][0]:.4g}" if log and log[-1][0] is not None else "none" for log in logs]
        return None if logs[0] == logs[1] else f": last loss {last[0]} there, {last[1]} here"
    if all(old.files.get(name) == new.files.get(name) for name in (SAMPLES, SCORES)):
        return None
    before = _digests(pack, place.as_posix())
    after = sample_digests(new.identity, read_samples(folder, new.identity))
    other = [name for name, digest in after.items() if before.get(name) != digest]
    metrics = [record.metrics.get(new.headline or "") for record in (old, new)]
    values = [f"{one.value:.4g}" if one and one.value is not None else "none" for one in metrics]
    first = f" ({other[0]}, …)" if other else ""
    return (
        f": {len(other)} of {counted(len(after), 'sample')}{first}; {new.headline} {values[0]} there, "
        f"{values[1]} here"
    )


def _digests(pack: Pack, place: str) -> dict[str, str]:
    """The digest of each sample of a packed cell, by its id."""
    if f"{place}/{WITHHELD}" in pack.archive.members:
        return dict(json.loads(pack.archive.read(f"{place}/{WITHHELD}"))["samples"])
    if f"{place}/{SAMPLES}" not in pack.archive.members:
        return {}
    rows = map(json.loads, pack.archive.read(f"{place}/{SAMPLES}").split(b"\n")[:-1])
    return {row["id"]: row["sha256"] for row in rows}
