"""sha256 of values and of files, for identities, records and caches."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.disk.cache import DiskCache

SETTLED = 2.0
"""Seconds without a change after which a file's times reveal a later change: many file systems have coarse
timestamps, and two writes within one step look the same."""
SMALL, LARGE = 2**16, 2**20
"""Bytes of a file that are read at once: first, then."""
KNOWN: dict[str, str] = {}
"""sha256 of files read by this process, by `file_state`."""
REMEMBERED = DiskCache("sha256")


def canonical_digest(value: Any) -> str:
    """sha256 over canonical JSON: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        TypeError: the value cannot be represented in JSON.
        ValueError: it holds NaN or an infinity.
    """
    return text_digest(canonical_text(value))


def canonical_text(value: Any) -> str:
    """The text that `canonical_digest` hashes. Raises as it does."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical_object(value: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """The canonical text of an object, some of whose values' texts are `known`. Raises as
    `canonical_digest`."""
    parts: list[str] = []
    rest: dict[str, Any] = {}
    for key in sorted(value):
        if key not in known:
            rest[key] = value[key]
            continue
        parts += [canonical_text(rest)[1:-1]] if rest else []
        parts.append(f"{canonical_text(key)}:{known[key]}")
        rest = {}
    parts += [canonical_text(rest)[1:-1]] if rest else []
    return f"{{{','.join(parts)}}}"


def read_bytes(path: str | Path) -> bytes:
    """A file's content: as `Path.read_bytes`, whose file object and buffer take longer than reading a small
    file."""
    return b"".join(_parts(path))


def read_sha256(path: str | Path) -> str:
    """sha256 of a file's content, always read."""
    digest = hashlib.sha256()
    for part in _parts(path):
        digest.update(part)
    return digest.hexdigest()


def _parts(path: str | Path) -> Iterator[bytes]:
    """A file's content, SMALL bytes at first, so that little memory is set aside for a small file."""
    number = os.open(path, os.O_RDONLY)
    try:
        size = SMALL
        while part := os.read(number, size):
            yield part
            size = LARGE
    except OSError as error:  # such as a folder: os.read sets no filename
        error.filename = os.fspath(path)
        raise
    finally:
        os.close(number)


def content_sha256(path: Path) -> str:
    """sha256 of a file's content, read once by this process per state of the file."""
    state, settled = file_state(path)
    if state in KNOWN:
        return KNOWN[state]
    digest = read_sha256(path)
    if settled and file_state(path)[0] == state:
        KNOWN[state] = digest
    return digest


def file_state(path: Path) -> tuple[str, bool]:
    """A digest of the file's state (path, device, inode, size, mtime, and ctime, which programs cannot set
    back), and whether a later change would alter it."""
    stat = path.stat()
    parts = [str(path.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    last = max(stat.st_mtime_ns, stat.st_ctime_ns)
    return canonical_digest(parts), last + SETTLED * 1e9 < time.time_ns()


def file_sha256(path: Path) -> str:
    """sha256 of a file for planning, cached in the user cache so that weights are not read for each plan.

    An entry holds for one `file_state`. Changes below the file system and forged cache entries go unnoticed,
    so loaded files are hashed again by `content_sha256`.
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
    """Remove the cached digest of a file's current state."""
    REMEMBERED.drop([file_state(path)[0]])
