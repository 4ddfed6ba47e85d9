"""Roots: the folders in which plugins are searched."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from perbench.errors import PerbenchError, closest


@dataclass(frozen=True)
class Kind:
    folder: str
    suffix: str
    base: str | None = None
    """ "module:Class" that a Python plugin subclasses; None for YAML."""
    home: str | None = None
    """Folder of the built-in ones in the package `perbench`; None: in `folder` of the built-in root."""
    many: bool = False
    """Whether a file may define several, by its class's literal `names`; otherwise it is named as the
    file."""
    load: str | None = None
    """ "module:function" that reads a YAML plugin by name or file, as `Named`; None for Python."""

    @property
    def plural(self) -> str:
        return self.folder.rpartition("/")[2]

    def place(self, root: Path) -> Path:
        """The folder of a root for plugins of this kind."""
        if self.home is not None and root == builtin_root():
            return PACKAGE / self.home
        return root / self.folder

    def module(self, path: Path) -> str:
        """The module name of a plugin's file or folder."""
        stem = path.parent.name if path.name == "__init__.py" else path.stem
        built_in = self.home is not None and PACKAGE / self.home in path.parents
        above = f"perbench.{self.home}" if built_in else self.namespace
        return f"{above}.{stem}".replace("/", ".")

    @property
    def namespace(self) -> str:
        """The package of the modules of all roots except the built-in one."""
        return f"perbench.plugins.{self.folder}".replace("/", ".")

    def files(self, folder: Path) -> list[Path]:
        """The plugin files in such a folder; for a plugin that is a folder, its __init__.py."""
        found = []
        for entry in _entries(folder):  # called often; Path.glob is slow
            named = entry.name[0] not in "_."
            if not entry.is_dir():
                found += [Path(entry.path)] if named and entry.name.endswith(self.suffix) else []
            elif self.suffix != ".py":
                found += self.files(Path(entry.path)) if not entry.is_symlink() else []
            elif named and os.path.isfile(inner := os.path.join(entry.path, "__init__.py")):
                found.append(Path(inner))
        return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


PACKAGE = Path(__file__).resolve().parents[1]


KINDS = {
    "task": Kind("tasks", ".yaml", load="perbench.specs.load:load_task"),
    "identifier": Kind("identifiers", ".py", "perbench.api:Identifier"),
    "trainer": Kind("trainers", ".py", "perbench.api:Trainer"),
    "family": Kind("tasks/families", ".py", "perbench.api:Family"),
    "protocol": Kind("protocols", ".py", "perbench.contracts.protocol:Protocol", "protocols"),
    "ranking": Kind("rankings", ".py", "perbench.contracts.persona:Ranking", "persona/rankings"),
    "summariser": Kind("summarisers", ".py", "perbench.contracts.persona:Summariser", "persona/summarisers"),
    "decoding": Kind("decodings", ".py", "perbench.contracts.decoding:Decoding", "decodings"),
    "source": Kind("sources", ".py", "perbench.contracts.source:Source", "data/sources"),
    "executor": Kind("executors", ".py", "perbench.contracts.executor:Executor", "executors"),
    "metric": Kind("metrics", ".py", "perbench.contracts.metric:TextMetric", "metrics", many=True),
    "engine": Kind("engines", ".py", "perbench.contracts.engine_kind:EngineKind", "engines"),
    "rubric": Kind("rubrics", ".yaml", home="judges/rubrics", load="perbench.specs.load:load_rubric"),
    "section": Kind("sections", ".py", "perbench.contracts.section:Section", "site/sections"),
    "model": Kind("leaderboard/models", ".yaml", load="perbench.specs.load:load_model"),
    "matrix": Kind("leaderboard/matrices", ".yaml", load="perbench.specs.matrices:load_matrix"),
    "reported": Kind("leaderboard/reported", ".yaml", load="perbench.specs.load:load_reported"),
}
LM_EVAL = "lm_eval"
"""Folder of a root with tasks of lm-evaluation-harness in its own format."""
ONE_OF = "a folder of plugins, such as trainers or tasks"
FOLDERS = ", ".join([*(kind.folder for kind in KINDS.values()), LM_EVAL])


@dataclass(frozen=True)
class Root:
    """A folder of plugins and its origin: "built-in", "PERBENCH_INCLUDE" or an entry point."""

    path: Path
    origin: str


def builtin_root() -> Path:
    """The folder of the built-in tasks/, identifiers/, trainers/ and leaderboard/."""
    packed = PACKAGE / "builtin"  # in a wheel; a checkout is a root itself
    return packed if packed.is_dir() else PACKAGE.parent


def is_root(folder: Path) -> bool:
    """Whether it holds a plugin folder; common names such as `metrics` need a plugin file inside."""
    return (folder / LM_EVAL).is_dir() or any(
        kind.files(folder / kind.folder) if kind.home is not None else (folder / kind.folder).is_dir()
        for kind in KINDS.values()
    )


def entry_point_roots() -> tuple[Sequence[Root], Sequence[str]]:
    """Roots announced by installed packages, and the faults of unusable ones."""
    return _entry_point_roots(tuple(sys.path))


@cache  # reading all distributions' metadata takes 10 ms and depends on sys.path
def _entry_point_roots(_sys_path: tuple[str, ...]) -> tuple[Sequence[Root], Sequence[str]]:
    found, problems = [], []
    for entry in entry_points(group="perbench.roots"):
        origin = f"entry point {entry.name} of {entry.dist.name if entry.dist else 'an unknown package'}"
        try:
            spec = importlib.util.find_spec(entry.value)
        except Exception as error:  # runs a/__init__.py, which may raise anything
            problems.append(f"{origin}: cannot find {entry.value!r}: {type(error).__name__}: {error}")
            continue
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        good = [place.resolve() for place in places if is_root(place)]
        found += [Root(place, origin) for place in good]
        if not places:
            problems.append(f"{origin}: {entry.value!r} is not an importable package; reinstall or remove it")
        elif not good:
            problems.append(f"{origin}: {places[0]} has none of the folders {FOLDERS}")
    return tuple(found), tuple(problems)


def included() -> list[Path]:
    return [Path(part) for part in os.environ.get("PERBENCH_INCLUDE", "").split(os.pathsep) if part]


def _roots_in(folder: Path) -> Iterator[str]:
    with suppress(OSError):  # a folder that may not be read
        for entry in _entries(folder):
            with suppress(OSError):
                if is_root(Path(entry.path)):
                    yield entry.name


def _check(folder: Path, origin: str) -> None:
    if not folder.is_dir():
        close = closest(folder.name, _roots_in(folder.parent))
        hint = f". Did you mean {str(folder.parent / close)!r}?" if close else f"; name one with {ONE_OF}"
        raise PerbenchError(f"{origin}: {folder} is not a folder{hint}")
    if not is_root(folder):
        raise PerbenchError(f"{origin}: {folder} has none of the folders {FOLDERS}; name their parent")


def roots() -> list[Root]:
    """All roots without duplicates: built-in, entry points, PERBENCH_INCLUDE (extended by `include`).

    Raises:
        PerbenchError: a folder of PERBENCH_INCLUDE is missing or not a root.
    """
    found = {builtin_root(): "built-in"}
    for root in entry_point_roots()[0]:
        found.setdefault(root.path, root.origin)
    for folder in included():
        _check(folder, "PERBENCH_INCLUDE")
        found.setdefault(folder.resolve(), "PERBENCH_INCLUDE")
    return [Root(path, origin) for path, origin in found.items()]


def root_problems() -> Sequence[str]:
    """Faults of installed packages that announce a root; they affect no other roots."""
    return entry_point_roots()[1]


def include(*folders: str | Path) -> None:
    """Add folders to PERBENCH_INCLUDE; see `perbench.plugins.include`."""
    known = {str(path.resolve()): None for path in included()}
    for folder in map(Path, folders):
        _check(folder, "--include")
        known[str(folder.resolve())] = None
    os.environ["PERBENCH_INCLUDE"] = os.pathsep.join(known)
