"""Packs: one archive of a run directory and of what repeats it, read in place of the directory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from perbench.disk.archive import Archive, BadArchive, name_fault
from perbench.plugins import Plugin
from perbench.shapes.base import Strict
from perbench.store.rundir import RUN

SCHEMA: Literal[1] = 1
RUN_PART, PLUGIN_PART = "run/", "plugins/"
"""Where a pack holds the run directory, and the roots of the plugins that perbench does not bring."""
CHECKPOINT = "/checkpoint/"


class PackedMatrix(Strict):
    """`file` is the resolved matrix; `written` the file that was run, if it was found."""

    name: str
    file: str
    written: str | None = None
    command: str
    limit: int | None = None
    """That of the command (`--limit`)."""
    train_only: bool = False


class PackedPlugin(Strict):
    """A plugin that the run used, or a task or model it named. `file` is its place in the pack; None for code
    of perbench itself."""

    kind: str
    name: str
    sha256: str
    file: str | None


class PackedData(Strict):
    """The examples of a task's split: their digest as in identities, their origin as in records, and how to
    get them: a command, or a phrase."""

    task: str
    split: Literal["train", "test"]
    digest: str
    origin: dict[str, Any]
    get: str


class PackedTask(Strict):
    """A task whose samples are in the pack as digests only."""

    task: str
    why: str
    cells: int


class Manifest(Strict):
    """What a pack holds besides its members. `run` is the name of the run directory."""

    schema_version: Literal[1] = SCHEMA
    run: str
    perbench: str
    weights: bool
    matrices: list[PackedMatrix]
    plugins: list[PackedPlugin]
    data: list[PackedData]
    withheld: list[PackedTask] = []
    notes: list[str] = []


class Pack:
    """A pack to read.

    Raises:
        BadArchive: it cannot be trusted, or not be read.
        OSError: from the file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive = Archive(path, SCHEMA)
        try:
            self.manifest = Manifest.model_validate(self.archive.manifest)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise BadArchive(path, f"manifest.json: {place}: {first['msg']}") from None
        run = self.manifest.run
        if "/" in run or name_fault(run) is not None:
            raise BadArchive(path, f"manifest.json: run: {run!r} is not the name of a folder")
        for name in self.archive.members:
            if (fault := _misplaced(name)) is not None:
                raise BadArchive(path, f"{name!r} is {fault}")
        for named in self._named():
            if named not in self.archive.members:
                raise BadArchive(path, f"manifest.json names {named!r}, which is missing")

    def _named(self) -> Iterable[str]:
        for matrix in self.manifest.matrices:
            yield from filter(None, (matrix.file, matrix.written))
        yield from (plugin.file for plugin in self.manifest.plugins if plugin.file is not None)

    @property
    def foreign(self) -> list[PackedPlugin]:
        """The plugins that are not perbench's own."""
        return [one for one in self.manifest.plugins if (one.file or "").startswith(PLUGIN_PART)]

    @property
    def roots(self) -> list[str]:
        """The folders of these plugins, "plugins/1"."""
        found = {"/".join(name.split("/")[:2]) for name in self.names(PLUGIN_PART)}
        return sorted(found, key=lambda root: (len(root), root))

    def names(self, part: str) -> list[str]:
        """The members below a folder, "run/", sorted."""
        return sorted(name for name in self.archive.members if name.startswith(part))


SHOWN = ("trainer", "identifier")
PARTS = {"resolved", "written", "plugins", "README.txt", "constraints.txt"}
COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dylib", ".dll")


def _misplaced(name: str) -> str | None:
    """Why a file has no place in a pack, or None."""
    first, *rest = name.split("/")
    if name.endswith(COMPILED) or "__pycache__" in rest:
        return "compiled code, which nobody can read"
    if first == RUN_PART.strip("/"):
        known = rest == [RUN] or (len(rest) > 2 and rest[0] == "cells")
    else:
        known = first in PARTS
    return None if known else "no part of a pack"


@dataclass(frozen=True)
class OpenedRun:
    """A run directory to read. `pack`: the file that it is from; `plugins`: those of its trainers and
    identifiers, which pages show as text and nothing imports."""

    path: Path
    plugins: tuple[Plugin, ...] = ()
    pack: Path | None = None


_opened: dict[tuple[str, int, int], tuple[tempfile.TemporaryDirectory[str], OpenedRun]] = {}
"""Unpacked for this process, by path, size and mtime; removed when it ends."""


def open_run(path: Path) -> OpenedRun:
    """The run directory that a user named, or that of a pack, unpacked for the rest of this process without
    trained weights. Its name is that of the packed directory. Nothing of a pack is executed.

    Raises:
        BadArchive, OSError: as `Pack`.
        PerbenchError: the disk has no room.
    """
    if not path.exists() or path.is_dir():
        return OpenedRun(path)
    pack, stat = Pack(path), path.stat()
    key = str(path.resolve()), stat.st_size, stat.st_mtime_ns
    if key not in _opened:
        folder = tempfile.TemporaryDirectory(prefix="perbench-pack-")
        run, code = Path(folder.name, "run", pack.manifest.run), Path(folder.name, "code")
        names = [name for name in pack.names(RUN_PART) if CHECKPOINT not in name]
        pack.archive.extract(run, names, lambda name: name.removeprefix(RUN_PART))
        shown = [one for one in pack.foreign if one.kind in SHOWN and one.file is not None]
        own = [name for one in shown for name in pack.names(str(one.file).removesuffix("__init__.py"))]
        pack.archive.extract(code, dict.fromkeys(own))
        found = tuple(Plugin(one.kind, one.name, code / str(one.file)) for one in shown)
        _opened[key] = folder, OpenedRun(run, found, path)
    return _opened[key][1]
