"""sha256 of values and of files: what identities, records and caches are named and checked by."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from perbench.disk.cache import DiskCache

SETTLED = 2.0
"""Seconds without a change after which a file's times tell a later change from the last one: many file
systems count time in steps, and two writes within one step look the same."""
KNOWN: dict[str, str] = {}
"""sha256 of the files that this process has read itself, by `file_state`."""
REMEMBERED = DiskCache("sha256")


def canonical_digest(value: Any) -> str:
    """sha256 over canonical JSON: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        TypeError: the value holds something that JSON has no form for.
        ValueError: it holds NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_sha256(path: Path) -> str:
    """sha256 of a file's content, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(path: Path) -> str:
    """sha256 of a file's content, read by this process, once per state of the file."""
    state, settled = file_state(path)
    if state in KNOWN:
        return KNOWN[state]
    digest = read_sha256(path)
    if settled and file_state(path)[0] == state:
        KNOWN[state] = digest
    return digest


def file_state(path: Path) -> tuple[str, bool]:
    """The digest of what tells one state of a file from another (path, device, inode, size and the times of
    the last change of its content, mtime, and of anything, ctime, which no program can set back); and whether
    a later change would show in it."""
    stat = path.stat()
    parts = [str(path.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    last = max(stat.st_mtime_ns, stat.st_ctime_ns)
    return canonical_digest(parts), last + SETTLED * 1e9 < time.time_ns()


def file_sha256(path: Path) -> str:
    """sha256 of a file for plans, remembered in the user cache: weights are not read for each plan.

    An entry holds for one `file_state`. What changes bits below the file system, or forges a whole entry with
    its seal, is not seen here. Therefore what is loaded is hashed again by `content_sha256`.
    """
    state, settled = file_state(path)
    if state in KNOWN:
        return KNOWN[state]
    known = REMEMBERED.get([state]) if settled else {}
    if state in known:
        return known[state].decode()
    digest = content_sha256(path)
    if settled and file_state(path)[0] == state:
        REMEMBERED.put({state: digest.encode()})
    return digest


def forget_sha256(path: Path) -> None:
    """Remove what the user cache remembers of a file as it is now."""
    REMEMBERED.drop([file_state(path)[0]])
