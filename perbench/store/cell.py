"""One cell's folder: its samples as they finish, then its scores, then its record, in this order."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from perbench.errors import PerbenchError
from perbench.store.files import append_journal, cut_torn, read_journal, write_json, write_text
from perbench.store.record import SCHEMA, CellRecord, Scores

Kind = Literal["train", "eval", "identify"]
CLOCK_SECONDS = 5.0
"""How often the time spent so far is saved: a kill loses at most this much of `CellRecord.seconds`."""


class CellDir:
    """Folder `<kind>-<identity[:16]>`: samples.jsonl, scores.json, cell.json (written last), attempts.json,
    endpoints.jsonl where endpoints were asked, and checkpoint/ of a train cell. Only the holder of the run
    directory's lock may write."""

    def __init__(self, path: Path, kind: Kind, identity: str) -> None:
        self.path = path
        self.kind = kind
        self.identity = identity
        self.torn = 0
        """Torn last lines cut off since this object was made."""
        self._before = 0.0
        self._starts = 0
        self._started: float | None = None
        self._saved = 0.0

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def ledger(self) -> Path:
        """Journal of what endpoints were asked for the cell."""
        return self.path / "endpoints.jsonl"

    # ------------------------------------------------------------ reading

    def record(self) -> CellRecord | None:
        """The finished record, done or failed; None before.

        Raises:
            PerbenchError: cell.json is damaged, of another version, or of another cell.
        """
        record = read_record(self.path)
        if record is not None and record.identity != self.identity:
            raise PerbenchError(
                f"{self.path / 'cell.json'} is the record of another cell (identity {record.identity}). "
                f"Delete the folder {self.path} to run the cell again."
            )
        return record

    def stored(self) -> int:
        """How many whole samples there are; changes nothing, so that a plan can ask."""
        return len(read_journal(self.path / "samples.jsonl").rows)

    def samples(self) -> list[dict[str, Any]]:
        """All whole samples, in the order of their appending; a torn last line is cut off the file."""
        journal = cut_torn(self.path / "samples.jsonl")
        self.torn += bool(journal.torn)
        return journal.rows

    # ------------------------------------------------------------ writing

    def begin(self) -> None:
        """Start an attempt: make the folder and the clock go on from the attempts before."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / "attempts.json"
        past: dict[str, Any] = (
            json.loads(file.read_text()) if file.exists() else {"seconds": 0.0, "starts": 0}
        )
        self._before, self._starts = past["seconds"], past["starts"] + 1
        self._started = time.monotonic()
        self.save_clock()

    def seconds(self) -> float:
        """Seconds spent on the cell, over all its starts."""
        return self._before + (time.monotonic() - self._started if self._started is not None else 0.0)

    def save_clock(self, *, every: float = 0.0) -> None:
        """Note the seconds so far, unless noted less than `every` seconds ago."""
        now = time.monotonic()
        if every and now - self._saved < every:
            return
        self._saved = now
        write_json(self.path / "attempts.json", {"seconds": round(self.seconds(), 3), "starts": self._starts})

    def append(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Append finished samples as whole lines, durable on return."""
        append_journal(self.path / "samples.jsonl", samples)
        if self._started is not None:
            self.save_clock(every=CLOCK_SECONDS)

    def write_scores(self, scores: Scores) -> None:
        self._write("scores.json", scores)

    def finish(self, record: CellRecord) -> None:
        """Write the record: from here on the cell is done. Samples and scores must stand already."""
        if record.status != "done":
            raise ValueError("finish() takes a done record; fail() the others")
        self._write("cell.json", record)

    def fail(self, record: CellRecord) -> None:
        """Write the record of a failure; samples and checkpoints stay for the next attempt."""
        if record.status != "failed":
            raise ValueError("fail() takes a failed record; finish() the others")
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("cell.json", record)

    def _write(self, name: str, value: CellRecord | Scores) -> None:
        write_text(self.path / name, value.model_dump_json(indent=1) + "\n")


def read_record(folder: Path) -> CellRecord | None:
    """The record in a cell's folder, None while it is unfinished.

    Raises:
        PerbenchError: cell.json does not parse or has an unknown schema_version.
    """
    file = folder / "cell.json"
    if not file.exists():
        return None
    remedy = f"Delete the folder {folder} to run the cell again."
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise PerbenchError(f"{file} is damaged: {error}. {remedy}") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA:
        raise PerbenchError(
            f"{file} has schema_version {version!r}; this perbench reads {SCHEMA}. "
            f"Use the perbench that wrote it. {remedy}"
        )
    try:
        return CellRecord.model_validate_json(file.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise PerbenchError(f"{file} is damaged: {place}: {fault['msg']}. {remedy}") from None


def read_scores(folder: Path) -> Scores | None:
    """The per-sample scores in a cell's folder, None where there are none.

    Raises:
        PerbenchError: scores.json is damaged.
    """
    file = folder / "scores.json"
    if not file.exists():
        return None
    try:
        return Scores.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise PerbenchError(
            f"{file} is damaged: {error.errors()[0]['msg']}. "
            f"`perbench rescore {folder.parents[1]}` writes it anew."
        ) from None


def cell_folder(root: Path, kind: Kind, identity: str) -> Path:
    assert kind in get_args(Kind)
    return root / "cells" / f"{kind}-{identity[:16]}"
