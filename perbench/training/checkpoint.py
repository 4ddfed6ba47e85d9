"""Atomic checkpoints: written to a temporary folder, flushed, then renamed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perbench.disk.files import Guard, unguarded
from perbench.disk.manifest import faults, seal_folder
from perbench.disk.sealed import read_sealed, write_sealed
from perbench.errors import CellError, PerbenchError
from perbench.progress import Progress

STATE = "state.json"
BUDGET = "micro_batch_tokens.json"
PARTIAL = ".partial-"


class Checkpoints:
    """The checkpoints of one training run: `step-000050`, of which the last good one is kept, and `final`.

    A folder is good if every file has the sha256 in its manifest, which is written last; others are reported
    and ignored, so that training continues from the previous one or from the start. `fingerprint` is the
    sha256 of the run's inputs: a checkpoint of other inputs is refused, not overwritten. Only the `main`
    process writes; `guard` is called before a write takes effect.
    """

    def __init__(
        self, folder: Path, fingerprint: str, *, main: bool = True, guard: Guard = unguarded
    ) -> None:
        self.folder, self._fingerprint, self._guard = folder, fingerprint, guard
        self._reported: set[Path] = set()
        if not main:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{PARTIAL}*"):
            _remove(leftover)

    def latest(self) -> Path | None:
        """The last good step checkpoint."""
        return next(
            (path for path in sorted(self.folder.glob("step-*"), reverse=True) if self._good(path)), None
        )

    def final(self) -> Path | None:
        path = self.folder / "final"
        if not self._good(path):
            return None
        self._remove_steps(keep=None)
        return path

    def state(self, path: Path) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((path / STATE).read_text())
        return state

    def save(self, step: int, state: dict[str, Any], write: Callable[[Path], None]) -> None:
        """Write checkpoint `step`, then delete older ones.

        Raises:
            CellError: the disk is full or fails; the last good checkpoint is kept.
        """
        path = self.folder / f"step-{step:06d}"
        self._write(path, state, write)
        self._remove_steps(keep=path)

    def finish(self, state: dict[str, Any], write: Callable[[Path], None]) -> None:
        """Write the trained weights to `final`, then delete the step checkpoints. Raises as `save`."""
        self._write(self.folder / "final", state, write)
        self._remove_steps(keep=None)
        (self.folder / BUDGET).unlink(missing_ok=True)

    def budget(self, asked: int) -> int:
        """Tokens of a micro-batch: `asked`, or the smaller number stored by `lower` for it."""
        found = self._lowered()
        return int(found["granted"]) if found.get("asked") == asked else asked

    def lower(self, asked: int, granted: int, note: str) -> None:
        """Remember for later starts that micro-batches of `asked` tokens did not fit."""
        value = {"asked": asked, "granted": granted, "notes": [*self.notes(), note]}
        write_sealed(self.folder / BUDGET, value, self._fingerprint, guard=self._guard)

    def notes(self) -> list[str]:
        """A note per `lower` of this run."""
        return list(self._lowered().get("notes", []))

    def _lowered(self) -> dict[str, Any]:
        try:
            return read_sealed(self.folder / BUDGET, self._fingerprint)
        except (OSError, ValueError):  # absent or damaged: found out again
            return {}

    def _write(self, path: Path, state: dict[str, Any], write: Callable[[Path], None]) -> None:
        from safetensors import SafetensorError

        # Random, since a worker that lost the cell may still be writing.
        partial = path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")
        try:
            partial.mkdir()
            write(partial)
            (partial / STATE).write_text(
                json.dumps({"fingerprint": self._fingerprint, "name": path.name, **state})
            )
            for file in partial.rglob("*"):
                _flush(file)
            seal_folder(partial)
            _flush(partial)
            self._guard()
            if path.exists():  # a damaged one; good ones are never rewritten
                _remove(path)
            os.replace(partial, path)
            _flush(path.parent)
        # torch and safetensors raise their own errors for a full disk
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CellError(
                f"cannot write {path}: {error}; free some space and run the same command again; {self.kept()}"
            ) from error

    def kept(self) -> str:
        """Where a restart resumes, for messages."""
        latest = self.latest()
        return f"the last good checkpoint is kept: {latest}" if latest else "there is no checkpoint yet"

    def _good(self, path: Path) -> bool:
        if not path.exists():
            return False
        if found := checkpoint_faults(path):
            if path not in self._reported:
                self._reported.add(path)
                Progress(0).say(f"{'; '.join(found)}: this checkpoint is ignored; training resumes before it")
            return False
        if fingerprint_of(path) != self._fingerprint:
            raise PerbenchError(
                f"{path} is a checkpoint of another training (other data, model, trainer, settings, seed or "
                f"perbench, or another value of precision `auto` on this machine); delete {self.folder}, or "
                "train into another folder"
            )
        return True

    def _remove_steps(self, keep: Path | None) -> None:
        for path in self.folder.glob("step-*"):
            if path != keep:
                _remove(path)


def checkpoint_faults(path: Path, seal: str | None = None, **options: Any) -> list[str]:
    """As `perbench.disk.manifest.faults`; also a checkpoint under another's name."""
    if found := faults(path, seal=seal, **options):
        return found
    name = json.loads((path / STATE).read_bytes()).get("name")
    return [] if name == path.name else [f"{path} is the checkpoint {name} under another name"]


def fingerprint_of(path: Path) -> str:
    """The sha256 of the inputs of an intact checkpoint."""
    return str(json.loads((path / STATE).read_text())["fingerprint"])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
