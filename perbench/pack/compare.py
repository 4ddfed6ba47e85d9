"""Compares a pack with this machine: plugins and data before a run, repeated cells after it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from perbench import plugins
from perbench.disk.digests import read_sha256
from perbench.matrix.cells import Cell, describe
from perbench.matrix.identity import differing
from perbench.progress import counted
from perbench.store import CellRecord, DamagedRecord
from perbench.store.check import RECORD, SAMPLES, SCORES, read_record, read_samples
from perbench.store.pack import RUN_PART, Pack, PackedPlugin
from perbench.store.withheld import WITHHELD, sample_digests

SHORT = 12
"""Digits of a digest in messages."""
LOGGED = ("loss", "grad_norm")


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
    records = {record.identity: record for record in packed_records(pack)}
    named = {(record.kind, record.labels.model_dump_json()): record for record in records.values()}
    data: dict[str, None] = {}
    inputs: Counter[str] = Counter()
    for cell in cells:
        old = named.get((cell.kind, cell.labels.model_dump_json()))
        if cell.identity in records or old is None:
            continue
        for path in differing(old.inputs, cell.inputs):
            if path in ("data", "dev"):
                data |= dict.fromkeys(_other_data(pack, old, cell, path))
            elif path != "train":  # whose own cell says why
                inputs[path] += 1
    yield from data
    for path, count in sorted(inputs.items()):
        yield f"{path} is not the pack's in {counted(count, 'cell')}, which cannot be reused"


def _other_data(pack: Pack, old: CellRecord, cell: Cell, path: str) -> Iterator[str]:
    label = (cell.labels.source if cell.kind == "train" else cell.labels.target) or ""
    before, after = str(old.inputs.get(path)), str(cell.inputs.get(path))
    get = next((one.get for one in pack.manifest.data if one.task == label), None)
    yield (
        f"the examples of {label} are not the pack's (sha256 {after[:SHORT]}… here, {before[:SHORT]}… in the "
        f"pack), so its cells cannot be reused{f'; to get the pack’s: {get}' if get else ''}"
    )


def packed_records(pack: Pack) -> list[CellRecord]:
    """The records in a pack. They were checked when it was unpacked; only their digests are checked here."""
    names = [name for name in pack.names(RUN_PART) if name.endswith(f"/{RECORD}")]
    return [CellRecord.model_validate_json(content) for content in pack.archive.read_all(names)]


def repeated(pack: Pack, out: Path) -> Iterator[str]:
    """For each cell of the pack that was run again in `out`, whether it came out equal."""
    again = []
    for name in pack.names(RUN_PART):
        folder = out / Path(name.removeprefix(RUN_PART)).parent
        if name.endswith(f"/{RECORD}") and _changed(folder / RECORD, pack.archive.members[name]["sha256"]):
            again.append(name)
    for name, content in zip(again, pack.archive.read_all(again), strict=True):
        old = CellRecord.model_validate_json(content)
        folder = out / Path(name.removeprefix(RUN_PART)).parent
        try:
            new = read_record(folder)
        except DamagedRecord:
            continue  # reported by the run
        if new is None or new.status != "done" or old.status != "done":
            continue
        if (new.started, new.finished) != (old.started, old.finished):  # else only its names have changed
            yield _compared(pack, Path(name).parent.as_posix(), old, new, folder)


def _changed(path: Path, digest: str) -> bool:
    try:
        return read_sha256(path) != digest
    except OSError:
        return False


def _compared(pack: Pack, place: str, old: CellRecord, new: CellRecord, folder: Path) -> str:
    cell = f"[{describe(new.kind, new.labels)}]"
    if new.kind == "train":
        logs = [[[row.get(key) for key in LOGGED] for row in record.training_log] for record in (old, new)]
        if logs[0] == logs[1]:
            return f"equal to the pack: {cell}: {counted(len(logs[0]), 'logged update')}"
        return f"not equal to the pack: {cell}: last loss {logs[0][-1:]} there, {logs[1][-1:]} here"
    if all(old.files.get(name) == new.files.get(name) for name in (SAMPLES, SCORES)):
        return (
            f"equal to the pack: {cell}: {counted(new.counts.get('samples', 0), 'sample')} and their scores"
        )
    before = _digests(pack, place, old)
    after = sample_digests(new.identity, read_samples(folder, new.identity))
    other = [name for name in after if before.get(name) != after[name]]
    value = old.headline and old.metrics.get(old.headline), new.headline and new.metrics.get(new.headline)
    shown = [f"{metric.value:.4g}" if metric and metric.value is not None else "none" for metric in value]
    return (
        f"not equal to the pack: {cell}: {len(other)} of {counted(len(after), 'sample')}"
        f"{f' ({other[0]}, …)' if other else ''}; {new.headline} {shown[0]} there, {shown[1]} here"
    )


def _digests(pack: Pack, place: str, record: CellRecord) -> dict[str, str]:
    """The digest of each sample of a packed cell, by its id."""
    if f"{place}/{WITHHELD}" in pack.archive.members:
        return dict(json.loads(pack.archive.read(f"{place}/{WITHHELD}"))["samples"])
    if f"{place}/{SAMPLES}" not in pack.archive.members:
        return {}
    lines = pack.archive.read(f"{place}/{SAMPLES}").splitlines()
    return {row["id"]: row["sha256"] for row in map(json.loads, lines)}
