"""Temporary files that killed writes left behind (`perbench.store.files.replacing`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

TEMPORARY = re.compile(r"\.(run|cell|scores|attempts)\.json\.[0-9a-f]{8}\.tmp|\.\w+\.jsonl\.[0-9a-f]{8}\.tmp")
"""Of files that a run directory holds."""


def sweep(folders: Iterable[Path]) -> None:
    """Remove what killed writes left in these folders of a run directory. The caller holds its lock, without
    which nobody writes there: so what is there now, nobody will finish."""
    for folder in folders:
        for file in folder.iterdir():
            if TEMPORARY.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                file.unlink(missing_ok=True)
