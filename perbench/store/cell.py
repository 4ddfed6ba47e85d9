"""A cell's folder: its samples as they finish, then its scores, then its record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from perbench.disk.digests import read_sha256
from perbench.disk.files import Guard, unguarded, write_json, write_text
from perbench.disk.sealed import SealedJournal, Unsealed, read_sealed, write_sealed
from perbench.store.check import LOG, RECORD, SAMPLES, SCORES, DamagedRecord, read_record
from perbench.store.record import SCHEMA, CellRecord, Scores
from perbench.store.withheld import WITHHELD

Kind = Literal["train", "eval", "identify"]
KINDS = get_args(Kind)
CLOCK_SECONDS = 5.0
"""How often the elapsed time is saved; a kill loses at most this much of `CellRecord.seconds`."""
CLOCK = "attempts.json"
LEDGER = "endpoints.jsonl"
CLOCK_LOST = "the time of earlier starts is not in the cell's seconds: attempts.json was damaged"


class CellDir:
    """Folder `<kind>-<identity[:16]>`: samples.jsonl, scores.json, cell.json (written last), attempts.json,
    endpoints.jsonl if endpoints were used, and checkpoint/ of a train cell. Only the holder of the
    cell's lease may write: `guard` is called before every write and raises if the lease is lost. `say`
    reports damage that was repaired."""

    def __init__(
        self,
        path: Path,
        kind: Kind,
        identity: str,
        guard: Guard = unguarded,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.identity = identity
        self._guard = guard
        self._say = say
        self._samples = SealedJournal(path / SAMPLES, identity, guard)
        self._before = 0.0
        self._starts = 0
        self._started: float | None = None
        self._saved = 0.0

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def ledger(self) -> SealedJournal:
        """The requests to endpoints for this cell."""
        return SealedJournal(self.path / LEDGER, self.identity, self._guard)

    @property
    def log(self) -> SealedJournal:
        """One row per training update."""
        return SealedJournal(self.path / LOG, self.identity, self._guard)

    # ------------------------------------------------------------ reading

    def record(self) -> CellRecord | None:
        """The finished record, done or failed; None before. Raises DamagedRecord as `read_record`."""
        return read_record(self.path)

    def stored(self) -> int:
        """Number of usable samples, for planning; changes nothing."""
        try:
            return len(self._samples.read().rows)
        except OSError:
            return 0  # reported when the cell runs

    def samples(self) -> list[dict[str, Any]]:
        """All samples in the order appended. A torn last line, and a damaged one with all that follow, are
        removed from the file."""
        return self._mended(None)[0]

    def mend(self, ids: Collection[str]) -> dict[str, int]:
        """Truncate the file as `samples` does, or from the first sample that is not among the plan's `ids` or
        is repeated. Returns the counts for the record."""
        return self._mended(set(ids))[1]

    def _mended(self, wanted: Collection[str] | None) -> tuple[list[dict[str, Any]], dict[str, int]]:
        found = self._samples.read()
        place, fault = len(found.rows), found.fault
        seen: set[Any] = set()
        for number, row in enumerate(found.rows if wanted is not None else ()):
            name = row.get("id")
            if name in seen or name not in (wanted or ()):
                again = f"the sample {name!r} again"
                place, fault = (
                    number,
                    (number + 1, again if name in seen else f"{name!r}, which is not in the plan"),
                )
                break
            seen.add(name)
        counts = {"torn_lines_cut": 1} if found.torn else {}
        if fault is not None:
            lost = counts["damaged_samples_dropped"] = len(found.rows) - place + found.lost
            line = f"{self.path / SAMPLES}:{fault[0]}"
            self._say(f"{line}: {fault[1]}; it and later ones ({lost} in all) are recomputed")
        if counts:
            self._samples.cut(found, place)
        return found.rows[:place], counts

    # ------------------------------------------------------------ writing

    def begin(self) -> list[str]:
        """Start an attempt: create the folder, remove an outdated record, and continue the clock of earlier
        attempts. Returns notes for the record.

        Raises:
            OSError: from the file system.
            LostLock: the cell's lease is lost.
        """
        self._guard()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            record = self.record()
        except DamagedRecord as damage:
            if not damage.redo:
                raise
            (self.path / RECORD).unlink(missing_ok=True)  # the plan has reported it
        else:
            if record is not None and record.status == "done":
                (self.path / RECORD).unlink()
        (self.path / WITHHELD).unlink(missing_ok=True)  # the samples will be here
        past = self._past()
        self._before, starts = past or (0.0, 0)
        self._starts = starts + 1
        self._started = time.monotonic()
        self.save_clock()
        return [CLOCK_LOST] if past is None else []

    def _past(self) -> tuple[float, int] | None:
        """Seconds and number of earlier attempts; None if lost."""
        file = self.path / CLOCK
        try:
            try:
                found = read_sealed(file, self.identity)
            except Unsealed as older:
                found = older.value
                if found.keys() != {"seconds", "starts"}:
                    raise
            return float(found["seconds"]), int(found["starts"])
        except FileNotFoundError:
            return 0.0, 0
        except (ValueError, TypeError, KeyError) as error:
            self._say(f"{file}: {error}; the time of earlier starts is lost")
            return None

    def seconds(self) -> float:
        """Seconds spent on the cell, over all starts."""
        return self._before + (time.monotonic() - self._started if self._started is not None else 0.0)

    def save_clock(self, *, every: float = 0.0) -> None:
        """Save the seconds so far, unless saved less than `every` seconds ago."""
        now = time.monotonic()
        if every and now - self._saved < every:
            return
        self._guard()
        self._saved = now
        clock = {"seconds": round(self.seconds(), 3), "starts": self._starts}
        write_sealed(self.path / CLOCK, clock, self.identity, guard=self._guard)

    def append(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Append finished samples as whole lines, durably."""
        self._samples.append(samples)
        if self._started is not None:
            self.save_clock(every=CLOCK_SECONDS)

    def arrange(self, ids: Sequence[str]) -> None:
        """See `perbench.contracts.run.SampleStore.arrange`."""
        rows = self._samples.read().rows
        places = {name: place for place, name in enumerate(ids)}
        ordered = sorted(rows, key=lambda row: places[row["id"]])
        if ordered != rows:
            self._samples.rewrite(ordered)

    def write_scores(self, scores: Scores) -> None:
        self._guard()
        content = scores.model_dump_json(indent=1, exclude=None if scores.sums else {"sums"})
        write_text(self.path / SCORES, content + "\n", self._guard)

    def finish(self, record: CellRecord) -> None:
        """Write the record, which completes the cell. Samples and scores must be written before."""
        if record.status != "done":
            raise ValueError("finish() takes a done record; use fail() for others")
        names = (SAMPLES, SCORES, LOG, LEDGER)
        files = {name: read_sha256(self.path / name) for name in names if (self.path / name).exists()}
        self._write(record.model_copy(update={"schema_version": SCHEMA, "files": files}))

    def fail(self, record: CellRecord) -> None:
        """Write the record of a failure; samples and checkpoints stay for the next attempt."""
        if record.status != "failed":
            raise ValueError("fail() takes a failed record; use finish() for others")
        self._guard()
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(record.model_copy(update={"schema_version": SCHEMA, "files": {}}))

    def relabel(self, record: CellRecord) -> None:
        """Replace a finished record by one with other names, counts or notes; the files beside it are
        unchanged. A record of an older perbench gets no digests."""
        self._write(record)

    def _write(self, record: CellRecord) -> None:
        self._guard()
        value = json.loads(record.model_dump_json(exclude={"sha256"}))
        if record.verifiable:
            write_sealed(self.path / RECORD, value, guard=self._guard)
        else:
            write_json(self.path / RECORD, value, self._guard)


def cell_folder(root: Path, kind: Kind, identity: str) -> Path:
    return root / "cells" / folder_name(kind, identity)


def folder_name(kind: Kind, identity: str) -> str:
    assert kind in KINDS
    return f"{kind}-{identity[:16]}"
