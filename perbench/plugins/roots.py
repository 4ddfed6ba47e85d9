"""Roots: the folders that plugins are looked up in."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from perbench.errors import PerbenchError


@dataclass(frozen=True)
class Kind:
    folder: str
    suffix: str
    base: str | None = None
    """Name of the class in perbench.api that a Python plugin subclasses."""


KINDS = {
    "task": Kind("tasks", ".yaml"),
    "identifier": Kind("identifiers", ".py", "Identifier"),
    "trainer": Kind("trainers", ".py", "Trainer"),
    "family": Kind("tasks/families", ".py", "Family"),
    "model": Kind("leaderboard/models", ".yaml"),
    "matrix": Kind("leaderboard/matrices", ".yaml"),
}
LM_EVAL = "lm_eval"
"""Folder of a root that holds tasks of lm-evaluation-harness, in its own format."""
FOLDERS = ", ".join([*(kind.folder for kind in KINDS.values()), LM_EVAL])


@dataclass(frozen=True)
class Root:
    """A folder of plugins and who named it: "built-in", "PERBENCH_INCLUDE" or an entry point."""

    path: Path
    origin: str


def builtin_root() -> Path:
    """The folder of the built-in tasks/, identifiers/, trainers/ and leaderboard/."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "builtin"  # a wheel carries the folders here; a checkout is a root itself
    return packed if packed.is_dir() else package.parent


def is_root(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in (LM_EVAL, *(kind.folder for kind in KINDS.values())))


def entry_point_roots() -> tuple[Sequence[Root], Sequence[str]]:
    """Roots that installed packages announce, and what is wrong with those that cannot be used."""
    return _entry_point_roots(tuple(sys.path))


@cache  # reading every installed distribution's metadata costs some 10 ms; sys.path decides what is found
def _entry_point_roots(_sys_path: tuple[str, ...]) -> tuple[Sequence[Root], Sequence[str]]:
    found, problems = [], []
    for entry in entry_points(group="perbench.roots"):
        origin = f"entry point {entry.name} of {entry.dist.name if entry.dist else 'an unknown package'}"
        try:
            spec = importlib.util.find_spec(entry.value)
        except Exception as error:  # finding `a.b` runs a/__init__.py, which may raise anything
            problems.append(f"{origin}: cannot find {entry.value!r}: {type(error).__name__}: {error}")
            continue
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        good = [place.resolve() for place in places if is_root(place)]
        found += [Root(place, origin) for place in good]
        if not places:
            problems.append(f"{origin}: {entry.value!r} is no importable package; reinstall or remove it")
        elif not good:
            problems.append(f"{origin}: {places[0]} has none of the folders {FOLDERS}")
    return tuple(found), tuple(problems)


def included() -> list[Path]:
    return [Path(part) for part in os.environ.get("PERBENCH_INCLUDE", "").split(os.pathsep) if part]


def _check(folder: Path, origin: str) -> None:
    if not folder.is_dir():
        raise PerbenchError(f"{origin}: {folder} is no folder; name one that holds one of {FOLDERS}")
    if not is_root(folder):
        raise PerbenchError(f"{origin}: {folder} has none of the folders {FOLDERS}; name their parent")


def roots() -> list[Root]:
    """All roots, each folder once: built-in, entry points, PERBENCH_INCLUDE (which `include` extends).

    Raises:
        PerbenchError: a folder of PERBENCH_INCLUDE is missing or no root.
    """
    found = {builtin_root(): "built-in"}
    for root in entry_point_roots()[0]:
        found.setdefault(root.path, root.origin)
    for folder in included():
        _check(folder, "PERBENCH_INCLUDE")
        found.setdefault(folder.resolve(), "PERBENCH_INCLUDE")
    return [Root(path, origin) for path, origin in found.items()]


def root_problems() -> Sequence[str]:
    """What is wrong with installed packages that announce a root; they break nobody else."""
    return entry_point_roots()[1]


def include(*folders: str | Path) -> None:
    """Add folders to PERBENCH_INCLUDE; see `perbench.plugins.include`."""
    known = {str(path.resolve()): None for path in included()}
    for folder in map(Path, folders):
        _check(folder, "--include")
        known[str(folder.resolve())] = None
    os.environ["PERBENCH_INCLUDE"] = os.pathsep.join(known)
