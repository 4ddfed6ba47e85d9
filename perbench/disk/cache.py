"""Persistent content-addressed cache, shared by all runs and processes."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError
from perbench.progress import Progress

WAIT = 60.0
"""Seconds to wait for another process's write."""
AT_ONCE = 500
"""Keys per query; SQLite allows at least 999."""


TABLE = "sealed"
SEAL = 32
"""Bytes of the sha256 before each value."""


def _sealed(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).digest() + value


class DiskCache:
    """A table of digest -> bytes in the file NAME.sqlite in `folder` (default: the user cache). Values are
    never replaced; each carries a sha256 over key and value, and a damaged one is dropped and counts as
    absent.

    A damaged or unusable file raises a PerbenchError that says what to do; a full disk raises an OSError.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self._name = name
        self._folder = folder

    @property
    def path(self) -> Path:
        return (self._folder or cache_dir()) / f"{self._name}.sqlite"

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that are present and intact."""
        found: dict[str, bytes] = {}
        damaged: list[str] = []
        if not self.path.exists():
            return found
        with self._open() as table:
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ", ".join("?" * len(part))
                rows = table.execute(f"SELECT key, value FROM {TABLE} WHERE key IN ({marks})", part)
                for key, kept in rows.fetchall():
                    if isinstance(kept, bytes) and _sealed(key, kept[SEAL:]) == kept:
                        found[key] = kept[SEAL:]
                    else:
                        damaged.append(key)
        if damaged:
            self.drop(damaged)
            Progress(0).say(f"{self.path}: {len(damaged)} damaged entries dropped")
        return found

    def put(self, values: Mapping[str, bytes]) -> None:
        """Add values, durably."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as table, table:
            rows = [(key, _sealed(key, value)) for key, value in values.items()]
            table.executemany(f"INSERT OR IGNORE INTO {TABLE} VALUES (?, ?)", rows)

    def drop(self, keys: Sequence[str]) -> None:
        """Remove values."""
        if self.path.exists():
            with self._open() as table, table:
                table.executemany(f"DELETE FROM {TABLE} WHERE key = ?", [(key,) for key in keys])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT)) as table:
                table.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (key TEXT PRIMARY KEY, value BLOB)")
                yield table
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.DatabaseError) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended code
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return PerbenchError(
                f"{self.path} is damaged: {error}; delete the file (its content will be recomputed, and "
                "endpoint replies paid for again)"
            )
        if code == sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return PerbenchError(
                f"{self.path}: {error}: another process was writing to it for {WAIT:g} s; nothing in it is "
                "lost, run the same command again"
            )
        return PerbenchError(
            f"{self.path}: {error}; make sure that the file is readable and writable and that the disk and "
            "your quota have room, then run the same command again"
        )
