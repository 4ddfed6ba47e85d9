"""Reading a cell's folder without believing it: what is not as perbench left it is named, never returned."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from perbench.disk.digests import canonical_digest, read_sha256
from perbench.disk.sealed import SealedJournal, seal_holds
from perbench.errors import PerbenchError
from perbench.store.record import SCHEMA, CellRecord, Scores

RECORD, SAMPLES, SCORES, LOG = "cell.json", "samples.jsonl", "scores.json", "training.jsonl"
WAY_OUT = "`perbench run` with its matrix runs the cell again; or delete the folder"


class DamagedRecord(PerbenchError):
    """`file` in a cell's `folder` (or the run directory, of run.json) is not as perbench left it. `what`: the
    place and the fault; `here`: the same without the folders above the run directory, for what is published;
    `redo`: running the cell again mends it."""

    def __init__(
        self, file: Path, fault: str, way_out: str = WAY_OUT, *, line: int | None = None, redo: bool = True
    ) -> None:
        self.file, self.folder = file, file.parent
        tail = f":{line}: {fault}" if line else f": {fault}"
        self.what = f"{file}{tail}"
        self.here = f"{Path(*file.parts[-3:]) if file.parent.parent.name == 'cells' else file.name}{tail}"
        self.redo = redo
        super().__init__(f"{self.what}. {way_out}")


def read_record(folder: Path) -> CellRecord | None:
    """The record in a cell's folder, None while it is unfinished. What it says of itself and of the other
    files is checked; records of an older perbench hold no digests (`CellRecord.verifiable`).

    Raises:
        DamagedRecord: the record is of another version, damaged, edited, or of another cell; or one of the
            files that it has digests of is not the one it was made with.
    """
    file = folder / RECORD
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRecord(file, f"damaged: {_said(error)}") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version not in (1, SCHEMA) or isinstance(version, bool):
        raise DamagedRecord(
            file,
            f"schema_version {version!r}; this perbench reads 1 and {SCHEMA}",
            "Use the perbench that wrote it, or delete the folder to run the cell again",
            redo=False,
        )
    if (version > 1 or value.get("sha256") is not None) and not seal_holds(value):
        raise DamagedRecord(file, "edited or damaged: its content is not what its sha256 was made of")
    record = _record(file, value)
    _check_identity(file, record)
    if record.status == "done":
        check_files(folder, record)
    return record


def _record(file: Path, value: dict[str, Any]) -> CellRecord:
    try:
        return CellRecord.model_validate_json(json.dumps(value, allow_nan=False))
    except ValidationError as error:
        raise DamagedRecord(file, f"damaged: {_first(error)}") from None
    except ValueError as error:  # a number without end
        raise DamagedRecord(file, f"damaged: {error}") from None


def _check_identity(file: Path, record: CellRecord) -> None:
    if canonical_digest(record.inputs) != record.identity:
        raise DamagedRecord(file, f"its inputs are not those of its identity {record.identity[:16]}")
    name = f"{record.kind}-{record.identity[:16]}"
    if file.parent.name != name:
        raise DamagedRecord(file, f"the record of another cell: it belongs into the folder {name}")


def check_files(folder: Path, record: CellRecord) -> None:
    """
    Raises:
        DamagedRecord: a file of a finished cell is not the one that its record was made with.
    """
    for name, digest in record.files.items():
        try:
            found = read_sha256(folder / name)
        except OSError as error:
            raise DamagedRecord(folder / name, f"the cell's record needs it: {_said(error)}") from None
        if found != digest:
            raise DamagedRecord(folder / name, "not what the cell's record was made with")
    if not record.verifiable and record.kind != "train":
        check_ids(None, read_ids(folder, record.identity), folder)


def read_samples(folder: Path, identity: str) -> list[dict[str, Any]]:
    """The samples of a cell, as they were appended.

    Raises:
        DamagedRecord: a line is not what was written there.
    """
    file = folder / SAMPLES
    try:
        found = SealedJournal(file, identity).read()
    except OSError as error:
        raise DamagedRecord(file, _said(error)) from None
    if found.fault is not None:
        raise DamagedRecord(file, found.fault[1], line=found.fault[0])
    return found.rows


def read_ids(folder: Path, identity: str) -> list[str]:
    """The ids of a cell's samples. Raises as `read_samples`."""
    return [str(row.get("id")) for row in read_samples(folder, identity)]


def check_ids(wanted: Sequence[str] | None, found: Sequence[str], folder: Path) -> None:
    """
    Args:
        wanted: the ids of the plan's samples; None: unknown, so that only repeated ones are a fault.

    Raises:
        DamagedRecord: the samples are not those of the plan, once each.
    """
    times, planned = Counter(found), set(found if wanted is None else wanted)
    faults = {
        "more than once": [name for name, count in times.items() if count > 1],
        "missing": [name for name in dict.fromkeys(wanted or ()) if name not in times],
        "not of the plan": [name for name in times if name not in planned],
    }
    said = [f"{len(names)} {how} ({names[0]})" for how, names in faults.items() if names]
    if said:
        raise DamagedRecord(folder / SAMPLES, f"samples are not the plan's, once each: {', '.join(said)}")


def read_scores(folder: Path) -> Scores | None:
    """The per-sample scores in a cell's folder, None where there are none.

    Raises:
        DamagedRecord: scores.json is damaged.
    """
    file = folder / SCORES
    way_out = f"`perbench rescore {folder.parents[1]}` writes it anew"
    try:
        return Scores.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DamagedRecord(file, f"damaged: {_first(error)}", way_out) from None
    except OSError as error:
        raise DamagedRecord(file, _said(error), way_out) from None


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def _said(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
