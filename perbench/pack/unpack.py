"""Unpacks a pack into a run directory: cells as the run left them, all else in its folder `pack`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from perbench.disk.archive import MANIFEST
from perbench.disk.files import replacing, write_text
from perbench.errors import PerbenchError
from perbench.store import RunDir
from perbench.store.pack import RUN_PART, Pack
from perbench.store.rundir import WORKERS

PACK = "pack"
BEGUN = ".unpacking"
"""Holds the manifest's digest while a pack is being unpacked."""


def unpack(pack: Pack, out: Path, *, wait: bool = True, notify: Callable[[str], None] | None = None) -> bool:
    """Unpack into `out`, unless that was done before: then cells that were deleted since stay deleted.
    Nothing is executed.

    Returns: whether anything was unpacked.

    Raises:
        BadArchive: the pack is damaged.
        PerbenchError: `out` holds something else, or another process uses it and `wait` is false.
        OSError: `out` cannot be written.
    """
    content = pack.archive.content
    digest = hashlib.sha256(content).hexdigest()
    folder = out / PACK
    if _digest(folder / MANIFEST) == digest:
        return False
    begun = folder / BEGUN
    ours = begun.is_file() and begun.read_text("utf-8").strip() == digest
    if not ours and out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - {WORKERS}):
        raise PerbenchError(f"{out} holds something else than this pack; name a new folder: --out DIR")
    pack.archive.verify()  # before anything is written
    with RunDir(out).lock(wait=wait, notify=notify):
        folder.mkdir(exist_ok=True)
        write_text(begun, digest + "\n")
        pack.archive.extract(out, sorted(pack.archive.members), _place)
        with replacing(folder / MANIFEST) as temporary:
            temporary.write_bytes(content)
        begun.unlink()
    return True


def _place(name: str) -> str:
    return name.removeprefix(RUN_PART) if name.startswith(RUN_PART) else f"{PACK}/{name}"


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
