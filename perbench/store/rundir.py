"""The run directory: OUT/run.json, OUT/.lock and one folder per cell under OUT/cells."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from perbench.errors import PerbenchError
from perbench.store.cell import CellDir, Kind, cell_folder, read_record
from perbench.store.files import write_json
from perbench.store.locks import locked
from perbench.store.record import CellRecord, Labels

RUN_SCHEMA = 1


class RunDir:
    """A folder of cells. Made on the first write; reading an absent one finds nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cell(self, kind: Kind, identity: str) -> CellDir:
        return CellDir(cell_folder(self.path, kind, identity), kind, identity)

    @contextmanager
    def lock(self, *, wait: bool = True, notify: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the directory for writing.

        Raises:
            PerbenchError: a file stands in its place, or another process holds it and `wait` is false. With
                `wait`, `notify` gets one message that names the holder, and the call returns when the holder
                is done.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            raise PerbenchError(f"{self.path} cannot be made a folder; name another: --out DIR") from None

        def busy(file: IO[str]) -> None:
            file.seek(0)
            holder = file.read().strip() or "another process"
            if not wait:
                raise PerbenchError(
                    f"{self.path} is in use by {holder}. Wait for it, or leave out --no-wait to do so."
                ) from None
            if notify is not None:
                notify(f"{self.path} is in use by {holder}; waiting for it to finish")

        with locked(self.path / ".lock", busy) as file:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield
            file.truncate(0)

    def describe(
        self,
        *,
        matrix: str,
        spec: dict[str, Any],
        command: str,
        started: str,
        cells: Mapping[str, Labels] = MappingProxyType({}),
    ) -> None:
        """Note in run.json what runs on this directory: the resolved matrix, its cells by identity, and one
        more command.

        `matrices` maps a matrix's name to its latest resolved spec, `plans` to the identities of its latest
        cells: among records with the same labels, those are the ones to show. `names` are all that take part
        in these cells, as `Labels.names` has them. A command that repeats only counts."""
        known = self.description()
        matrices = {**known.get("matrices", {}), matrix: spec}
        plans = {**known.get("plans", {}), matrix: list(cells)}
        taking_part = dict.fromkeys(chain.from_iterable(labels.names for labels in cells.values()))
        names = {**known.get("names", {}), matrix: list(taking_part)}
        commands = list(known.get("commands", []))
        same = [entry for entry in commands if entry["command"] == command]
        if same:
            same[0].update(last=started, runs=same[0]["runs"] + 1)
        else:
            commands.append(
                {"command": command, "matrix": matrix, "first": started, "last": started, "runs": 1}
            )
        described = {"matrices": matrices, "plans": plans, "names": names, "commands": commands}
        write_json(self.path / "run.json", {"schema_version": RUN_SCHEMA, **described})

    def description(self) -> dict[str, Any]:
        """run.json, or {} when there is none."""
        file = self.path / "run.json"
        if not file.exists():
            return {}
        try:
            value = json.loads(file.read_bytes())
        except ValueError as error:
            raise PerbenchError(
                f"{file} is damaged: {error}. Delete it; the next run writes it anew."
            ) from None
        if not isinstance(value, dict) or value.get("schema_version") != RUN_SCHEMA:
            raise PerbenchError(
                f"{file} was written by another version. Delete it; the next run writes it anew."
            )
        return value


def read_records(path: Path) -> list[tuple[CellRecord, Path]]:
    """Every finished cell (done or failed) of a run directory with its folder, sorted by folder name.

    Unfinished cells are left out.

    Raises:
        PerbenchError: `path` is no run directory, or a record is damaged.
    """
    cells = path / "cells"
    if not cells.is_dir():
        raise PerbenchError(
            f"{path} is no run directory: it has no cells/. `perbench run --out {path}` makes one."
        )
    found = []
    for folder in sorted(cells.iterdir()):
        record = read_record(folder) if folder.is_dir() else None
        if record is not None:
            found.append((record, folder))
    return found
