"""The trained weights of a run: their integrity, and which of them an evaluation uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perbench.disk.digests import content_sha256, forget_sha256
from perbench.errors import CellError
from perbench.matrix.cells import Cell
from perbench.store import CellDir, CellRecord
from perbench.training.checkpoint import checkpoint_faults

USERS = "users"
"""Folder of users' own adapters beside a training's checkpoints."""


@dataclass(frozen=True)
class Trained:
    """The weights made by a train cell: an adapter or a full model, and users' own adapters on top, None if
    the training made none. `faults`: what is missing or damaged."""

    checkpoint: Path
    users: dict[str, Path] | None
    faults: list[str]


def trained_weights(
    cell: Cell, folder: CellDir, record: CellRecord | None, digest: Callable[[Path], str] = content_sha256
) -> Trained:
    """The weights that `cell` left in `folder`, checked by file; `record` has their seals."""
    from perbench.training.per_user import user_adapters

    assert cell.training is not None
    seals = record.weights if record is not None else {}
    final = folder.checkpoint / "final"
    faults = checkpoint_faults(final, seal=seals.get("final"), digest=digest)
    if cell.training.per_user is None:
        return Trained(final, None, faults)
    users, more = user_adapters(folder.checkpoint / USERS, seal=seals.get(USERS), digest=digest)
    return Trained(final, users, faults + more)


def serving_weights(cell: Cell, trained: Cell, folder: CellDir, record: CellRecord) -> Trained:
    """The weights of the training `trained` that an evaluation loads, read and checked now.

    Raises:
        CellError: they are missing or damaged.
    """
    found = trained_weights(trained, folder, record)
    if found.faults:
        for path in folder.checkpoint.rglob("*"):  # so that the next plan reads them again
            if path.is_file():
                forget_sha256(path)
        raise CellError(
            f"the trained weights have changed: {'; '.join(found.faults)}; run the same command again to "
            "retrain them"
        )
    if found.users is not None and cell.task.name != trained.task.name:
        # User names are unique only within a task.
        return Trained(found.checkpoint, {}, [])
    return found
