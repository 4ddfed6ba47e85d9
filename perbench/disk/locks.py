"""Locks between processes. The kernel frees a lock when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def locked(path: Path, busy: Callable[[IO[str]], None] = lambda file: None) -> Iterator[IO[str]]:
    """Hold the file `path` alone, among processes and threads; it is made where it is absent, and stays.

    Args:
        busy: called with the open file while another holds it: raises, to refuse; else its holder's end is
            waited for.

    Yields: the file, open for reading and appending.

    Raises:
        OSError: the file cannot be made or opened for writing, or the file system has no locks.
    """
    while True:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy(file)
                fcntl.flock(file, fcntl.LOCK_EX)
            if same_file(path, file):  # else it was removed meanwhile: this lock keeps nobody out
                yield file
                return


def same_file(path: Path, file: IO[str]) -> bool:
    """Whether `path` is still the file that is open as `file`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False
