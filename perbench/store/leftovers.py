"""Temporary files that killed writes left behind (`perbench.disk.files.replacing`)."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
OF_A_RUN = re.compile(r"\.(run|cell|scores|attempts)\.json\.[0-9a-f]{8}\.tmp|\.\w+\.jsonl\.[0-9a-f]{8}\.tmp")
"""Those of files that a run directory holds."""
DAY = 86400.0
"""Seconds after which no write is still under way."""


def sweep(folders: Iterable[Path]) -> None:
    """Remove what killed writes left in these folders of a run directory. The caller holds its lock, without
    which nobody writes there: so what is there now, nobody will finish."""
    for folder in folders:
        _remove(folder, OF_A_RUN)


def sweep_old(folders: Iterable[Path]) -> None:
    """Remove what writes left that were killed a day ago or earlier, where others may be writing now: in the
    user cache, and beside pages. What cannot be removed stays."""
    for folder in folders:
        with suppress(OSError):
            _remove(folder, TEMPORARY, time.time() - DAY)


def _remove(folder: Path, names: re.Pattern[str], before: float = math.inf) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            left = names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            if left and entry.stat(follow_symlinks=False).st_mtime < before:
                Path(entry.path).unlink(missing_ok=True)
