"""What is expensive to make and never changes, kept on disk by digest, for every run and process."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from perbench.cache import cache_dir
from perbench.errors import PerbenchError

WAIT = 60.0
"""Seconds to wait for another process's write."""
AT_ONCE = 500
"""Keys of one query; SQLite takes at least 999."""


class Keep:
    """A table of digest -> bytes, one file in the user cache. A value, once there, is never replaced.

    What is wrong with the file, or with its disk, is a PerbenchError that says what to do; a full disk an
    OSError.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def path(self) -> Path:
        return cache_dir() / f"{self._name}.sqlite"

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that are there."""
        found: dict[str, bytes] = {}
        if not self.path.exists():
            return found
        with self._open() as table:
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ", ".join("?" * len(part))
                found.update(table.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", part))
        return found

    def put(self, values: Mapping[str, bytes]) -> None:
        """Add values, durable on return."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as table, table:
            table.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", values.items())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT)) as table:
                table.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB)")
                yield table
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.DatabaseError) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what SQLite adds to its kinds
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return PerbenchError(
                f"{self.path} is damaged: {error}. Delete the file: what it held is made anew, and paid "
                "again where an endpoint made it"
            )
        if code == sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return PerbenchError(
                f"{self.path}: {error}: for {WAIT:g} s another process was writing to it. Nothing in it is "
                "lost; run the same command again"
            )
        return PerbenchError(
            f"{self.path}: {error}. See that the file can be read and written and that the disk, or your "
            "quota, has room; then run the same command again"
        )
