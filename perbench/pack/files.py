"""The files of the plugins that a run used: third parties' with all that they import or read, each in a root;
perbench's own as they are written, to compare."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from perbench import plugins
from perbench.errors import PerbenchError
from perbench.pack.public import public_yaml
from perbench.pack.used import Used
from perbench.plugins import KINDS, Plugin
from perbench.plugins.roots import PACKAGE
from perbench.specs.compose import source_of
from perbench.store.pack import COMPILED, PLUGIN_PART, PackedPlugin

WRITTEN = "written/"
NAMESPACE = "perbench.plugins"


@dataclass
class PluginFiles:
    """`members`: file by place in the pack; `plugins`: what each is; `imported`: top-level names of the
    modules that third parties' files import, with the file; `get`: where rows are, by the task's label;
    `notes`: what could not be taken along."""

    members: dict[str, bytes | Path] = field(default_factory=dict)
    plugins: list[PackedPlugin] = field(default_factory=list)
    imported: dict[str, str] = field(default_factory=dict)
    get: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, path: Path) -> None:
        """A file, or a folder with all its files, except hidden and compiled ones."""
        for file in _files(path):
            inner = file.relative_to(path)
            if not any(part.startswith(".") for part in inner.parts) and not file.name.endswith(COMPILED):
                self.members["/".join([name, *inner.parts])] = file


def _files(path: Path) -> list[Path]:
    """A file, or those of a folder, as in the digest of a plugin."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in found if file.is_file() and "__pycache__" not in file.parts]


def plugin_files(used: Used) -> PluginFiles:
    """
    Raises:
        OSError: a file cannot be read.
        PerbenchError: faults of roots.
    """
    found, roots = PluginFiles(), _Roots()
    chosen = {**used.plugins, **_sections(roots, used)}
    for (kind, name), plugin in sorted(chosen.items()):
        root, own, digest = roots.of(plugin), _own(plugin), plugin.digest()
        if root is None and KINDS[kind].base is not None:
            found.plugins.append(PackedPlugin(kind=kind, name=name, sha256=digest, file=None))
            continue
        if root is None:
            place = f"{WRITTEN}{KINDS[kind].folder}/{_below(plugin)}"
        else:
            place = roots.place(root, own)
            _closure(found, roots, root, own)
        found.add(place, own)
        if own.is_dir() and (odd := [one for one in _files(own) if one not in found.members.values()]):
            raise PerbenchError(f"{odd[0]}: hidden or compiled, so it is not packed; remove it from {own}")
        file = f"{place}/__init__.py" if own.is_dir() else place
        if kind == "model" and (public := public_yaml(plugin.path)) is not None:
            found.members[file], digest = public, hashlib.sha256(public).hexdigest()
            found.notes.append(f"model {name}: packed without the address of its server")
        found.plugins.append(PackedPlugin(kind=kind, name=name, sha256=digest, file=file))
    _rows(found, roots, used)
    return found


def _own(plugin: Plugin) -> Path:
    """The plugin's file, or its folder."""
    return plugin.path.parent if plugin.path.name == "__init__.py" else plugin.path


def _below(plugin: Plugin) -> str:
    """The place of a built-in plugin below its kind's folder."""
    return _own(plugin).relative_to(KINDS[plugin.kind].place(plugins.builtin_root())).as_posix()


@dataclass(frozen=True)
class _Home:
    """A root; or the folder of a task or model that was given by its file, which is packed as if it were in
    `folder` of a root."""

    path: Path
    folder: str = ""


class _Roots:
    """The roots that are not perbench's own, numbered as they are used."""

    def __init__(self) -> None:
        self._known = [_Home(root.path) for root in plugins.roots() if root.origin != "built-in"]
        self._numbers: dict[_Home, int] = {}

    def of(self, plugin: Plugin) -> _Home | None:
        """The root of a plugin; None if it is perbench's own."""
        path, kind = plugin.path.resolve(), KINDS[plugin.kind]
        if PACKAGE in path.parents or _is_below(path, kind.place(plugins.builtin_root())):
            return None
        return self._in(self._known, path) or _Home(path.parent, kind.folder)

    def place(self, home: _Home, path: Path) -> str:
        """The place in the pack of a file or folder of a root."""
        number = self._numbers.setdefault(home, len(self._numbers) + 1)
        inner = path.resolve().relative_to(home.path).as_posix()
        return "/".join(filter(None, (f"{PLUGIN_PART}{number}", home.folder, inner)))

    def holding(self, path: Path) -> _Home | None:
        """The used root that holds a file."""
        return self._in(self._numbers, path)

    @staticmethod
    def _in(homes: Iterable[_Home], path: Path) -> _Home | None:
        return next((home for home in homes if _is_below(path.resolve(), home.path)), None)


def _is_below(path: Path, folder: Path) -> bool:
    return folder in path.parents


def _sections(roots: _Roots, used: Used) -> dict[tuple[str, str], Plugin]:
    """The sections of results in roots of which something else is used: the run's page shows them."""
    others = {root for plugin in used.plugins.values() if (root := roots.of(plugin)) is not None}
    return {key: plugin for key, plugin in plugins.discover("section").items() if roots.of(plugin) in others}


# ---------------------------------------------------------------- what plugins import and read


def _closure(found: PluginFiles, roots: _Roots, root: _Home, path: Path) -> None:
    """Add the files of the same root that Python files import, and theirs."""
    todo = [*path.rglob("*.py")] if path.is_dir() else [path] if path.suffix == ".py" else []
    seen: set[Path] = set()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in _imports(file, root.path):
            if not name.startswith(f"{NAMESPACE}."):
                found.imported.setdefault(name.partition(".")[0], roots.place(root, file))
                continue
            inner = root.path.joinpath(*name.removeprefix(f"{NAMESPACE}.").split("."))
            for other in (inner.with_suffix(".py"), inner / "__init__.py"):
                if other.is_file():
                    own = other.parent if other.name == "__init__.py" else other
                    found.add(roots.place(root, own), own)
                    todo += [*own.rglob("*.py")] if own.is_dir() else [own]


def _imports(file: Path, root: Path) -> Iterator[str]:
    """The modules that a file imports, by their full names; names imported from one may be modules, too."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # it was used without, or not at all
    package = [NAMESPACE, *file.relative_to(root).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _rows(found: PluginFiles, roots: _Roots, used: Used) -> None:
    """Add what third parties' tasks read beside their files, if the licence of the texts allows it; and say
    how to get the rows of each task."""
    for label, task in sorted(used.tasks.items()):
        plugin = used.plugins.get(("task", task.named.name))
        foreign = plugin is not None and roots.of(plugin) is not None
        for path in source_of(task.named.spec.data).files(task.named.folder):
            own = path.resolve()
            holder = roots.holding(own)
            if not foreign and plugins.builtin_root() in own.parents:
                found.get[label] = "they come with perbench"
            elif holder is None:
                found.notes.append(f"{path.name}, which {label} reads: not packed, it is not beside the task")
            elif own.suffix == ".py":
                found.add(roots.place(holder, own), own)
                _closure(found, roots, holder, own)
            elif task.withheld is not None:
                found.notes.append(f"{path.name}, which {label} reads: not packed, {task.withheld}")
            else:
                found.add(roots.place(holder, own), own)
                found.get[label] = "they are in this pack"
