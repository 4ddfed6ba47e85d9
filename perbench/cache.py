"""The user cache: what is made once and is the same for every run (converted weights, file hashes)."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from perbench.digests import canonical_digest as canonical_digest
from perbench.digests import read_sha256 as read_sha256

SETTLED = 2.0
"""Seconds without a change after which a file's times tell a later change from the last one: many file
systems count time in steps, and two writes within one step look the same."""


def cache_dir() -> Path:
    """`$PERBENCH_CACHE`, else `$XDG_CACHE_HOME/perbench`, else `~/.cache/perbench`; it may not exist yet."""
    own = os.environ.get("PERBENCH_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "perbench"


def file_sha256(path: Path) -> str:
    """sha256 of a file for plans, remembered in the user cache: weights are not read for each plan.

    An entry holds for one state of the file: path, device, inode, size and the times of its last change of
    content (mtime) and of anything (ctime, which no program can set back). What changes bits below the file
    system, without any of these, or forges a whole entry with its seal, is not seen here. Therefore what is
    loaded is hashed again by `content_sha256`.
    """
    from perbench.store.manifest import read_sealed, write_sealed

    state, settled = _state(path)
    if state in _READ:
        return _READ[state]
    entry = _entry(state)
    if settled:
        try:
            value = read_sealed(entry)
        except (OSError, ValueError):  # absent or damaged: hashed again
            value = {}
        digest = value.get("sha256")
        if value.get("state") == state and isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest):
            return digest
    digest = content_sha256(path)
    if settled and _state(path)[0] == state:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(entry, {"state": state, "sha256": digest})
    return digest


def content_sha256(path: Path) -> str:
    """sha256 of a file's content, read by this process, once per state of the file."""
    state, settled = _state(path)
    if state in _READ:
        return _READ[state]
    digest = read_sha256(path)
    if settled and _state(path)[0] == state:
        _READ[state] = digest
    return digest


def forget_sha256(path: Path) -> None:
    """Remove what the user cache remembers of a file as it is now."""
    _entry(_state(path)[0]).unlink(missing_ok=True)


_READ: dict[str, str] = {}


def _state(path: Path) -> tuple[str, bool]:
    """The digest of all that tells one state of a file from another; whether a later change would show."""
    stat = path.stat()
    parts = [str(path.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    last = max(stat.st_mtime_ns, stat.st_ctime_ns)
    return canonical_digest(parts), last + SETTLED * 1e9 < time.time_ns()


def _entry(state: str) -> Path:
    return cache_dir() / "sha256" / state
