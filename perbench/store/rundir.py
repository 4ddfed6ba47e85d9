"""The run directory: OUT/run.json, OUT/.workers with the leases, and one folder per cell in OUT/cells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perbench.disk.sealed import Unsealed, read_sealed, write_sealed
from perbench.errors import NO_ROOM, PerbenchError, closest, listed
from perbench.store.cell import CellDir, Kind, cell_folder, folder_name
from perbench.store.check import DamagedRecord, read_record
from perbench.store.leases import Lease, Leases
from perbench.store.leftovers import sweep
from perbench.store.record import CellRecord, Labels
from perbench.store.selection import Choice

RUN_SCHEMA = 1
RUN = "run.json"
WORKERS = ".workers"
"""Folder of what workers tell each other: leases, the latest plan, logs."""
WHOLE = "run"
"""The lease of run.json and of finished records."""
POLL = 0.5
"""Seconds between looks at a lease that another process holds."""


class RunDir:
    """A folder of cells, created by the first write; an absent one is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: Lease | None = None

    @property
    def workers(self) -> Path:
        return self.path / WORKERS

    def leases(self, worker: str = "", **options: Any) -> Leases:
        """The leases of this directory as a worker sees them; `options` as of `Leases`."""
        return Leases(self.workers / "leases", worker, **options)

    def cell(
        self,
        kind: Kind,
        identity: str,
        say: Callable[[str], None] = lambda line: None,
        lease: Lease | None = None,
    ) -> CellDir:
        """A cell's folder, for reading, and for writing with its `lease`, else with the directory's lock."""
        guard = self.guard if lease is None else lease.check
        return CellDir(cell_folder(self.path, kind, identity), kind, identity, guard, say)

    def begun(self) -> set[str]:
        """The names of the folders of cells that were ever started."""
        try:
            return set(os.listdir(self.path / "cells"))
        except FileNotFoundError:
            return set()

    def guard(self) -> None:
        """Call before each write.

        Raises:
            LostLock: the lock was taken here, but its file has been removed or replaced.
        """
        if self._held is not None:
            self._held.check()

    @contextmanager
    def lock(
        self, *, wait: bool = True, notify: Callable[[str], None] | None = None, leases: Leases | None = None
    ) -> Iterator[None]:
        """Hold run.json and the finished records for writing; workers hold their cells by leases of their
        own.

        Raises:
            PerbenchError: a file has its path, or another process holds it and `wait` is false. With `wait`,
                `notify` gets one message that names the holder, and this waits for it.
            LostLock: see `guard`.
        """
        leases = leases or self.leases()
        with self._claimed(WHOLE, leases, wait, notify) as lease:
            self._held = lease
            try:
                with lease.beating(leases.every):
                    sweep([self.path])
                    yield
            finally:
                self._held = None

    @contextmanager
    def _claimed(
        self, name: str, leases: Leases, wait: bool, notify: Callable[[str], None] | None
    ) -> Iterator[Lease]:
        while (lease := self._claim(name, leases)) is None:
            holder = leases.holder(name)
            if holder is None:
                continue
            if not wait:
                raise PerbenchError(
                    f"{self.path} is in use by {holder}; wait for it, or omit --no-wait to do so"
                )
            if notify is not None:
                notify(f"{self.path} is in use by {holder}; waiting for it to finish")
                notify = None
            time.sleep(POLL)
        try:
            yield lease
        finally:
            lease.release()

    def _claim(self, name: str, leases: Leases) -> Lease | None:
        try:
            return leases.claim(name)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            raise PerbenchError(
                f"{self.path} cannot be created or written ({error.strerror}); name another: --out DIR"
            ) from None

    def describe(
        self,
        *,
        matrix: str,
        spec: dict[str, Any],
        command: str,
        started: str,
        cells: Mapping[str, Labels] = MappingProxyType({}),
        choices: Sequence[Choice] = (),
        notify: Callable[[str], None] = lambda message: None,
    ) -> None:
        """Record in run.json what runs on this directory: the resolved matrix, its cells by identity, and the
        command.

        `matrices` maps a matrix's name to its latest resolved spec, `plans` to the identities of its latest
        cells: among records with the same labels, those are shown. `names` are all participants of these
        cells, as in `Labels.names`; `choices` those of its selection. A repeated command only increases a
        count. A damaged run.json is replaced, without its content; `notify` is called with the fault.
        """
        try:
            known = self.description()
        except DamagedRecord as damage:
            notify(f"{damage.what}; it is replaced, with this matrix only")
            known = {}
        matrices = {**known.get("matrices", {}), matrix: spec}
        plans = {**known.get("plans", {}), matrix: list(cells)}
        taking_part = dict.fromkeys(chain.from_iterable(labels.names for labels in cells.values()))
        names = {**known.get("names", {}), matrix: list(taking_part)}
        held = {**known.get("choices", {}), matrix: [one.model_dump(mode="json") for one in choices]}
        made = {name: found for name, found in held.items() if found}
        commands = list(known.get("commands", []))
        same = [entry for entry in commands if entry["command"] == command]
        if same:
            again = same[0]["last"] != started  # else it is another stage of the same run
            same[0].update(last=started, runs=same[0]["runs"] + again)
        else:
            commands.append(
                {"command": command, "matrix": matrix, "first": started, "last": started, "runs": 1}
            )
        self.guard()
        described = {"matrices": matrices, "plans": plans, "names": names, "commands": commands}
        described |= {"choices": made} if made else {}
        write_sealed(self.path / RUN, {"schema_version": RUN_SCHEMA, **described}, RUN, guard=self.guard)

    def description(self) -> dict[str, Any]:
        """run.json, or {} if absent.

        Raises:
            DamagedRecord: it differs from what was written, or has another version.
        """
        file = self.path / RUN
        way_out = "delete it; the next `perbench run` writes it again"
        try:
            value = read_sealed(file, RUN)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DamagedRecord(file, error.strerror or str(error), way_out) from None
        except Unsealed as older:
            value = older.value
            if not _shaped(value):
                raise DamagedRecord(file, str(older), way_out) from None
        except ValueError as error:
            raise DamagedRecord(file, str(error), way_out) from None
        if value.get("schema_version") != RUN_SCHEMA:
            raise DamagedRecord(file, "written by another version", way_out)
        return value


SHAPES = {"matrices": dict, "plans": list, "names": list}


def _shaped(value: Mapping[str, Any]) -> bool:
    """Whether an unsealed run.json of an older perbench is readable."""
    parts = (value.get(key, {}) for key in SHAPES)
    shaped = all(
        isinstance(part, dict) and all(isinstance(one, shape) for one in part.values())
        for part, shape in zip(parts, SHAPES.values(), strict=True)
    )
    commands = value.get("commands", [])
    return (
        shaped
        and value.keys() <= {*SHAPES, "schema_version", "commands"}
        and isinstance(commands, list)
        and all(isinstance(entry, dict) and {"command", "runs"} <= entry.keys() for entry in commands)
    )


ALIKE = 0.7
"""Similarity of two names of run directories, one of which may be misspelt: "mine" and "demo" have 0.5."""
RUNS = Path("runs")
"""Default parent of run directories."""


PAGES = "files.json"
"""Names the files of a built site: its folder has `cells`, too."""


def is_run(path: Path) -> bool:
    return (path / "cells").is_dir() and not (path / PAGES).is_file()


def cells_of(path: Path) -> Path:
    """The folder of a run directory's cells.

    Raises:
        PerbenchError: `path` is not a run directory; the message suggests others beside it and in RUNS.
    """
    if is_run(path):
        return path / "cells"
    if (path / PAGES).is_file():
        raise PerbenchError(f"{path} holds pages that `perbench leaderboard build` wrote; name their run")
    if path.is_file():
        raise PerbenchError(
            f"{path} is a file, not a run directory; `perbench run --from {path} --out DIR` unpacks a pack"
        )
    if (path / WORKERS).is_dir() or (path / RUN).is_file():
        raise PerbenchError(f"{path} holds no cells yet: its run has not begun any")
    beside = (one.parent for folder in (path.parent, RUNS) for one in folder.glob("*/cells"))
    runs = {str(one) for one in beside if is_run(one)}
    way_out = f" There are: {listed(runs)}." if runs else f" `perbench run --out {path}` makes one."
    if not path.exists():
        near = [one for one in runs if get_close_matches(path.name, [Path(one).name], cutoff=ALIKE)]
        meant = closest(str(path), near)
        hint = f" Did you mean {meant!r}?" if meant is not None else ""
        raise PerbenchError(f"{path} does not exist (yet): no run has begun there.{hint}{way_out}")
    raise PerbenchError(f"{path} is not a run directory: it has no cells/, nor published files.{way_out}")


def read_records(
    path: Path, damaged: list[DamagedRecord] | None = None, known: Iterable[CellRecord] = ()
) -> list[tuple[CellRecord, Path]]:
    """Every finished cell (done or failed) of a run directory with its folder, sorted by folder name.

    Unfinished cells are left out; so are damaged ones if a list `damaged` is given, which collects them.
    `known` are records of this directory that the caller has just read; they are not read again.

    Raises:
        PerbenchError: `path` is not a run directory; or, without `damaged`, cells are damaged (all are
            listed).
    """
    faults: list[DamagedRecord] = []
    here = {folder_name(record.kind, record.identity): record for record in known}
    cells = cells_of(path)
    folders = (cells / name for name in sorted(os.listdir(cells)))
    found = list(each_record(folders, faults, here))
    if damaged is not None:
        damaged += faults
    elif faults:
        raise PerbenchError("\n".join(map(str, faults)))
    return found


def each_record(
    folders: Iterable[Path],
    damaged: list[DamagedRecord],
    known: Mapping[str, CellRecord] = MappingProxyType({}),
) -> Iterator[tuple[CellRecord, Path]]:
    """The finished cells among these folders, read one by one; `damaged` collects those left out. `known` by
    the folder's name, as in `read_records`."""
    for folder in folders:
        record = known.get(folder.name)
        if record is None:
            try:
                record = read_record(folder)
            except DamagedRecord as damage:
                if folder.is_dir():
                    damaged.append(damage)
                continue
        if record is not None:
            yield record, folder
