"""File locks between processes; the kernel releases a lock when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def locked(path: Path, busy: Callable[[IO[str]], None] = lambda file: None) -> Iterator[IO[str]]:
    """Hold an exclusive lock on the file `path`, which is created if absent and stays.

    Args:
        busy: called with the open file if another process or thread holds the lock; it may raise to refuse,
            otherwise this waits.

    Yields: the file, open for reading and appending.

    Raises:
        OSError: the file cannot be created or opened for writing, or the file system has no locks.
    """
    while True:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy(file)
                fcntl.flock(file, fcntl.LOCK_EX)
            if same_file(path, file):  # else it was removed meanwhile, and this lock is void
                yield file
                return


def same_file(path: Path, file: IO[str]) -> bool:
    """Whether `path` is still the open `file`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False
