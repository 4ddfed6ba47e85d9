"""Reads a cell's folder with checks: files other than perbench wrote are reported, never returned."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from perbench.disk.digests import canonical_text, read_bytes, read_sha256, text_digest
from perbench.disk.sealed import SealedJournal, seal_holds
from perbench.errors import PerbenchError
from perbench.store.record import SCHEMA, CellRecord, Scores
from perbench.store.withheld import WITHHELD, SamplesWithheld, Withheld, read_withheld

RECORD, SAMPLES, SCORES, LOG = "cell.json", "samples.jsonl", "scores.json", "training.jsonl"
WAY_OUT = "run its matrix again with `perbench run` to repeat the cell, or delete the folder"


class DamagedRecord(PerbenchError):
    """`file` in a cell's `folder` (or run.json in the run directory) differs from what perbench wrote.
    `what`: the place and the fault; `here`: the same relative to the run directory, for publication; `redo`:
    running the cell again repairs it."""

    def __init__(
        self, file: Path, fault: str, way_out: str = WAY_OUT, *, line: int | None = None, redo: bool = True
    ) -> None:
        self.file, self.folder = file, file.parent
        tail = f":{line}: {fault}" if line else f": {fault}"
        self.what = f"{file}{tail}"
        self.here = f"{Path(*file.parts[-3:]) if file.parent.parent.name == 'cells' else file.name}{tail}"
        self.redo = redo
        super().__init__(f"{self.what}; {way_out}")


def read_record(folder: Path) -> CellRecord | None:
    """The record in a cell's folder, or None if unfinished. Its content and digests of the other files are
    checked; records of an older perbench hold no digests (`CellRecord.verifiable`).

    Raises:
        DamagedRecord: the record has another version, is damaged or edited, or belongs to another cell; or
            one of its files does not match its digest.
    """
    try:
        content = read_bytes(f"{folder}/{RECORD}")
        value = from_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRecord(folder / RECORD, f"damaged: {_message(error)}") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version not in (1, SCHEMA) or isinstance(version, bool):
        raise DamagedRecord(
            folder / RECORD,
            f"schema_version {version!r}; this perbench reads 1 and {SCHEMA}",
            "use the perbench that wrote it, or delete the folder to run the cell again",
            redo=False,
        )
    sealed = version > 1 or value.get("sha256") is not None
    inputs = _inputs(value)
    if sealed and (inputs is None or not seal_holds(value, known={"inputs": inputs})):
        raise DamagedRecord(folder / RECORD, "edited or damaged: its content does not match its sha256")
    record = _record(folder, content if sealed else _finite(folder, value))
    _check_identity(folder, record, inputs)
    if record.status == "done":
        check_files(folder, record)
    return record


def _inputs(value: Mapping[str, Any]) -> str | None:
    """The canonical text of a record's inputs, for its identity and for its seal; None if it holds NaN."""
    try:
        return canonical_text(value.get("inputs"))
    except ValueError:
        return None


def _record(folder: Path, content: bytes) -> CellRecord:
    try:
        return CellRecord.model_validate_json(content)
    except ValidationError as error:
        raise DamagedRecord(folder / RECORD, f"damaged: {_first(error)}") from None


def _finite(folder: Path, value: dict[str, Any]) -> bytes:
    """JSON without NaN and infinities, which no seal would hold for."""
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError as error:
        raise DamagedRecord(folder / RECORD, f"damaged: {error}") from None


def _check_identity(folder: Path, record: CellRecord, inputs: str | None) -> None:
    if inputs is None or text_digest(inputs) != record.identity:
        raise DamagedRecord(folder / RECORD, f"its inputs do not match its identity {record.identity[:16]}")
    name = f"{record.kind}-{record.identity[:16]}"
    if folder.name != name:
        raise DamagedRecord(folder / RECORD, f"the record of another cell: it belongs in the folder {name}")


def check_files(folder: Path, record: CellRecord) -> None:
    """
    Raises:
        DamagedRecord: a file of a finished cell does not match its record.
    """
    for name, digest in record.files.items():
        try:
            found = read_sha256(f"{folder}/{name}")
        except OSError as error:
            if name == SAMPLES and samples_withheld(folder, record.identity) is not None:
                continue
            raise DamagedRecord(folder / name, f"the cell's record needs it: {_message(error)}") from None
        if found != digest:
            raise DamagedRecord(folder / name, "does not match the cell's record")
    if not record.verifiable and record.kind != "train":
        check_ids(None, read_ids(folder, record.identity), folder)


def samples_withheld(folder: Path, identity: str) -> Withheld | None:
    """What stands in place of the samples in this copy of a cell; None if they are here.

    Raises:
        DamagedRecord: the file that says so is damaged.
    """
    if (folder / SAMPLES).exists():
        return None
    try:
        return read_withheld(folder, identity)
    except (OSError, ValueError) as error:
        raise DamagedRecord(folder / WITHHELD, _message(error)) from None


def read_samples(folder: Path, identity: str) -> list[dict[str, Any]]:
    """The samples of a cell, in the order appended.

    Raises:
        DamagedRecord: a line differs from what was written there.
        SamplesWithheld: this copy of the cell lacks them.
    """
    file = folder / SAMPLES
    if (left_out := samples_withheld(folder, identity)) is not None:
        raise SamplesWithheld(f"{folder}: {left_out}; run the cell again to make them")
    try:
        found = SealedJournal(file, identity).read()
    except OSError as error:
        raise DamagedRecord(file, _message(error)) from None
    if found.fault is not None:
        raise DamagedRecord(file, found.fault[1], line=found.fault[0])
    return found.rows


def read_ids(folder: Path, identity: str) -> list[str]:
    """The ids of a cell's samples. Raises as `read_samples`."""
    return [str(row.get("id")) for row in read_samples(folder, identity)]


def check_ids(wanted: Sequence[str] | None, found: Sequence[str], folder: Path) -> None:
    """
    Args:
        wanted: the ids of the plan's samples; None if unknown, when only repeated ones are a fault.

    Raises:
        DamagedRecord: the samples are not exactly those of the plan.
    """
    times, planned = Counter(found), set(found if wanted is None else wanted)
    faults = {
        "more than once": [name for name, count in times.items() if count > 1],
        "missing": [name for name in dict.fromkeys(wanted or ()) if name not in times],
        "not of the plan": [name for name in times if name not in planned],
    }
    wrong = [f"{len(names)} {how} ({names[0]})" for how, names in faults.items() if names]
    if wrong:
        raise DamagedRecord(folder / SAMPLES, f"samples differ from the plan's: {', '.join(wrong)}")


def read_scores(folder: Path) -> Scores | None:
    """The per-sample scores in a cell's folder, if any.

    Raises:
        DamagedRecord: scores.json is damaged.
    """
    try:
        return Scores.model_validate_json(read_bytes(f"{folder}/{SCORES}"))
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        fault = _message(error) if isinstance(error, OSError) else f"damaged: {_first(error)}"
        way_out = f"`perbench rescore {folder.parents[1]}` writes it again"
        raise DamagedRecord(folder / SCORES, fault, way_out) from None


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def _message(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
