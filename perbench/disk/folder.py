"""The user cache: what is made once and is the same for every run (converted weights, file hashes)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from perbench.disk import digests


def cache_dir() -> Path:
    """`$PERBENCH_CACHE`, else `$XDG_CACHE_HOME/perbench`, else `~/.cache/perbench`; it may not exist yet."""
    own = os.environ.get("PERBENCH_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "perbench"


def file_sha256(path: Path) -> str:
    """sha256 of a file for plans, remembered in the user cache: weights are not read for each plan.

    An entry holds for one `file_state`. What changes bits below the file system, or forges a whole entry with
    its seal, is not seen here. Therefore what is loaded is hashed again by `content_sha256`.
    """
    from perbench.disk.sealed import read_sealed, write_sealed

    state, settled = digests.file_state(path)
    if state in digests.KNOWN:
        return digests.KNOWN[state]
    entry = _entry(state)
    if settled:
        try:
            digest = read_sealed(entry, state).get("digest")
        except (OSError, ValueError):  # absent or damaged: hashed again
            digest = None
        if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest):
            return digest
    digest = digests.content_sha256(path)
    if settled and digests.file_state(path)[0] == state:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(entry, {"digest": digest}, state)
    return digest


def forget_sha256(path: Path) -> None:
    """Remove what the user cache remembers of a file as it is now."""
    _entry(digests.file_state(path)[0]).unlink(missing_ok=True)


def _entry(state: str) -> Path:
    return cache_dir() / "sha256" / state
