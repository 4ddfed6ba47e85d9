"""Removes temporary files left by killed writes (`perbench.disk.files.replacing`)."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from perbench.disk.files import replacing

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
OF_A_RUN = re.compile(r"\.(run|cell|scores|attempts)\.json\.[0-9a-f]{8}\.tmp|\.\w+\.jsonl\.[0-9a-f]{8}\.tmp")
"""Matches those in a run directory."""
DAY = 86400.0
"""Seconds after which no write can still be in progress."""


def sweep(folders: Iterable[Path]) -> None:
    """Remove what killed writes left in these folders of a run directory. The caller must hold their lease:
    a write that an earlier holder still prepares then fails."""
    for folder in folders:
        with suppress(FileNotFoundError):
            _remove(folder, OF_A_RUN)


def inherit(folder: Path, *, taken_over: bool) -> None:
    """Make a cell's folder ours, whose lease the caller has just got: remove the writes that an earlier
    worker prepared. If it was `taken_over` from one that may still run, also copy its journals to new files,
    which its open files do not reach.

    Raises:
        OSError: the folder is or holds a link. perbench makes none, and would write where it leads.
    """
    _refuse_links(folder)
    sweep([folder])
    for journal in folder.glob("*.jsonl") if taken_over else ():
        with replacing(journal) as copy:
            shutil.copyfile(journal, copy)


def _refuse_links(folder: Path) -> None:
    inside = (Path(place, name) for place, *names in os.walk(folder) for name in [*names[0], *names[1]])
    for path in (folder, *inside):
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"a link to {os.readlink(path)}, which no run makes", str(path))


def sweep_old(folders: Iterable[Path]) -> None:
    """Remove what writes left that were killed at least a day ago, where others may be writing now: in the
    user cache, and beside pages. Errors are ignored."""
    for folder in folders:
        with suppress(OSError):
            _remove(folder, TEMPORARY, time.time() - DAY)


def _remove(folder: Path, names: re.Pattern[str], before: float = math.inf) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            left = names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            if left and entry.stat(follow_symlinks=False).st_mtime < before:
                Path(entry.path).unlink(missing_ok=True)
