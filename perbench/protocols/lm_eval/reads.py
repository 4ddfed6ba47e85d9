"""All that a task of lm-eval reads, by content and without paths: its files, code and local documents."""

from __future__ import annotations

import ast
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from perbench.contracts.base import folders
from perbench.disk.digests import canonical_digest, file_sha256, read_sha256

from .configs import STRUCTURE, Config, Function

ELSEWHERE = ("cache_dir", "num_proc")
"""Keys of `dataset_kwargs` that belong to the machine."""
OURS = ("lm_eval", "perbench")
"""Packages whose versions identify them."""


def portable(config: Config) -> Config:
    """A task's configuration with digests in place of functions, files and folders."""
    found = {key: _value(value) for key, value in config.items() if key not in STRUCTURE}
    kwargs = dict(config.get("dataset_kwargs") or {})
    base = str(kwargs.get("data_dir") or "")
    if isinstance(path := config.get("dataset_path"), str):
        found["dataset_path"] = _path(path)
        base = base or (path if Path(path).is_dir() else "")
    if kwargs:
        kept = {key: _value(value) for key, value in kwargs.items() if key not in ELSEWHERE}
        if "data_files" in kwargs:
            kept["data_files"] = _data_files(kwargs["data_files"], Path(base))
        if "data_dir" in kwargs:
            kept["data_dir"] = _path(base)
        found["dataset_kwargs"] = kept
    return found


def _value(value: Any) -> Any:
    if isinstance(value, Function):
        return {"function": value.last, "code": _code(value)}
    if isinstance(value, dict):
        return {str(key): _value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    if isinstance(value, str) and "/" in value and "\n" not in value and len(value) < 4096:
        return _path(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _path(value: str) -> str:
    """A digest of the file or folder; an absolute path of nothing is cut to its name, all else is kept."""
    path = Path(os.path.expanduser(value))
    if os.path.isfile(path):  # pathlib's fails for texts that are no paths
        return file_sha256(path)
    if os.path.isdir(path):
        return canonical_digest(_tree(path))
    return f"missing {path.name}" if path.is_absolute() and os.path.isdir(path.parent) else value


def _tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inner.parts):
            found[inner.as_posix()] = file_sha256(path)
    return found


def _data_files(value: Any, base: Path) -> Any:
    if isinstance(value, dict):
        return {str(split): _data_files(inner, base) for split, inner in value.items()}
    if isinstance(value, list):
        return [_data_files(inner, base) for inner in value]
    if "://" in str(value):
        return value
    path = base / os.path.expanduser(str(value))
    if glob.has_magic(str(path)) and not path.exists():
        return [_path(one) for one in sorted(glob.glob(str(path), recursive=True))]
    return _path(str(path)) if path.exists() or path.is_absolute() else value


# ---------------------------------------------------------------- code


def _code(function: Function) -> str:
    """A digest of the file of a function and of all files that it imports or names."""
    module = function.name.rpartition(".")[0]
    beside = function.folder.joinpath(*module.split(".")).with_suffix(".py")
    todo = [beside.resolve()] if beside.is_file() else [*_found(module, _elsewhere())]
    if not todo:
        return f"{module} {_installed(module)}"
    return canonical_digest(sorted(_closure(todo, function.folder)))


def _closure(todo: list[Path], folder: Path) -> Iterator[str]:
    """Digests of files, and of what they import or name."""
    root = _root(folder)
    seen: set[Path] = set()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        yield read_sha256(file)
        try:
            tree = ast.parse(file.read_bytes()) if file.suffix == ".py" else None
        except SyntaxError:  # importing it will say so
            tree = None
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from _named(file.parent, node.value)
            else:
                for name, places in _imports(node, file):
                    todo += _found(name, places) or _found_below(name, root)


def _named(folder: Path, value: str) -> Iterator[str]:
    """The digest of a file or folder that a string of the code names, from its own folder or absolutely."""
    if not 1 < len(value) < 256 or "\n" in value or "\0" in value or value.startswith("."):
        return
    path = folder / value
    if os.path.isfile(path):
        yield file_sha256(path)
    elif os.path.isdir(path) and not Path(value).is_absolute():
        yield canonical_digest(_tree(path))


def _imports(node: ast.AST, file: Path) -> Iterator[tuple[str, Sequence[Path]]]:
    """Names of modules, and the folders in which they may be; names imported from one may be modules too."""
    places = [file.parent, *_elsewhere()]
    if isinstance(node, ast.Import):
        yield from ((alias.name, places) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            places = [file.parents[min(node.level, len(file.parents)) - 1]]
        if node.module:
            yield node.module, places
        names = [f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names]
        yield from ((name, places) for name in names)


def _found(module: str, places: Sequence[Path]) -> list[Path]:
    """The files of a module and of the packages that hold it; empty for installed ones."""
    parts = module.split(".")
    if parts[0] in OURS or parts[0] in sys.stdlib_module_names:
        return []
    for place in places:
        inner = place.joinpath(*parts)
        own = [path for path in (inner.with_suffix(".py"), inner / "__init__.py") if path.is_file()]
        if own:
            above = [place.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts))]
            return [path.resolve() for path in (*own[:1], *above) if path.is_file()]
    return []


def _found_below(module: str, root: Path | None) -> list[Path]:
    """Files of this name anywhere in the root: code may change sys.path."""
    top = module.partition(".")[0]
    if root is None or top in OURS or top in sys.stdlib_module_names or not top.isidentifier():
        return []
    found = [*root.rglob(f"{top}.py"), *root.rglob(f"{top}/**/*.py")]
    return sorted(path.resolve() for path in found)


def _root(folder: Path) -> Path | None:
    """The root of one's own tasks that holds a folder."""
    places = [place.resolve() for place in folders("lm_eval")]
    return next((place for place in places if place == folder or place in folder.parents), None)


def _elsewhere() -> list[Path]:
    """Folders of modules that are not installed packages, such as those of PYTHONPATH."""
    prefixes = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    found = []
    for name in sys.path:
        path = Path(name or ".").resolve()
        installed = path.name in ("site-packages", "dist-packages") or prefixes & {path, *path.parents}
        if path.is_dir() and not installed:
            found.append(path)
    return found


def _installed(module: str) -> str:
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(module.partition(".")[0], [])
    return " ".join(f"{name} {version(name)}" for name in sorted(set(names)))
