"""perbench validate: check spec files and plugins without running them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args, get_type_hints

from perbench import plugins
from perbench.errors import PerbenchError, SpecError, listed
from perbench.progress import counted

if TYPE_CHECKING:
    from perbench.shapes.base import Strict

SUMMARY = "check specs and plugins: the files given, else everything in all roots"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="YAML specs or Python plugins")


def run(args: argparse.Namespace) -> int:
    checks: list[Callable[[], Remarks]] = [partial(_check_file, path) for path in args.files]
    faults: list[str] = []
    if not args.files:
        faults += plugins.root_problems()
        files = {plugin.path: plugin for plugin in plugins.discover().values()}
        checks = [partial(check_plugin, plugin) for plugin in files.values()]
    lacking: dict[str, list[str]] = {}
    for check in checks:
        try:
            found = check()
        except SpecError as error:
            faults += map(str, error.problems)
        except PerbenchError as error:
            faults.append(str(error))
        else:
            for line in found.lacking:
                lacking.setdefault(line, []).append(found.name)
            for line in found.remarks:
                print(f"{found.name}: {line}", file=sys.stderr)
    for line, names in lacking.items():
        print(f"missing for {listed(names)}: {line}", file=sys.stderr)
    faults = list(dict.fromkeys(faults))  # a matrix repeats the faults of its tasks
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{counted(len(checks), 'file')} checked, {counted(len(faults), 'fault')}", file=sys.stderr)
    return 2 if faults else 0


@dataclass(frozen=True)
class Remarks:
    """What is no fault of a file. `name`: its kind and name; `lacking`: what a run of it would lack on this
    machine, with what to do; `remarks`: on its rows."""

    name: str
    lacking: Sequence[str] = ()
    remarks: Sequence[str] = ()


def check_plugin(plugin: plugins.Plugin) -> Remarks:
    """Load a plugin; raises PerbenchError with its faults."""
    if plugins.KINDS[plugin.kind].base is None:
        return _load_spec(plugin.kind, plugin.name)
    from perbench.contracts.base import Owner
    from perbench.hyperparameters import Hyperparameters

    cls = plugin.load_class()
    if issubclass(cls, Owner):
        from perbench.specs.compose import task_spec

        spec = task_spec()  # raises if two owners define one key differently
        unknown = [path for path in sorted(cls.reads) if plugin.kind != "engine" and not _key(spec, path)]
        if unknown:
            raise PerbenchError(f"{plugin.path}: reads: no task has the key {', '.join(unknown)}")
    if issubclass(cls, Hyperparameters):
        wrong = [message for _, message in cls.faults({}) if "is required" not in message]
        if wrong:
            raise PerbenchError(f"{plugin.path}: default of {'; '.join(wrong)}")
    return Remarks(f"{plugin.kind} {plugin.name}")


def _key(spec: type[Strict], path: str) -> bool:
    """Whether a spec has the key with this dotted path."""
    from perbench.shapes.describe import section_of

    name, _, rest = path.partition(".")
    info = spec.model_fields.get(name)
    inner = section_of(info) if info is not None and rest else None
    return info is not None and (not rest or (inner is not None and _key(cast("type[Strict]", inner), rest)))


def _load_spec(kind: str, name: str) -> Remarks:
    if kind == "matrix":
        from perbench.matrix.absent import absent_for
        from perbench.specs.load import find
        from perbench.specs.matrices import every_profile

        lines = [line for matrix in every_profile(name) for line in absent_for(matrix.spec)]
        return Remarks(f"{kind} {find(kind, name)[0]}", lacking=list(dict.fromkeys(lines)))
    spec = plugins.loader(kind)(name)
    if kind == "task":
        from perbench.data.check import check_rows

        return Remarks(f"{kind} {spec.name}", remarks=check_rows(spec))
    return Remarks(f"{kind} {spec.name}")


def _check_file(path: Path) -> Remarks:
    if path.suffix in (".yaml", ".yml"):
        return _load_spec(_kind_of(path), str(path))
    if not path.exists():
        raise PerbenchError(f"{path}: no such file")
    file = path / "__init__.py" if path.is_dir() else path
    if not file.exists():
        raise PerbenchError(f"{path}: is a folder; name files, or check all of a root: --include {path}")
    return check_plugin(_plugin_at(file) or _included(file))


def _plugin_at(file: Path) -> plugins.Plugin | None:
    return next((known for known in plugins.discover().values() if known.path.samefile(file)), None)


def _included(file: Path) -> plugins.Plugin:
    """The plugin in a file after including its root.

    Raises:
        PerbenchError: it is in no folder of Python plugins.
    """
    inner = file.absolute().parent if file.name == "__init__.py" else file.absolute()
    folders = [kind.folder for kind in plugins.KINDS.values() if kind.base is not None]
    folder = next((folder for folder in folders if inner.parent.match(folder)), None)
    if file.suffix == ".py" and folder is not None:
        plugins.include(inner.resolve().parents[len(Path(folder).parts)])
        if (plugin := _plugin_at(file)) is not None:
            return plugin
    listed = ", ".join(f"{folder}/" for folder in folders)
    raise PerbenchError(f"{file}: neither a YAML file nor a Python file in one of the folders {listed}")


def _kind_of(path: Path) -> str:
    """A file's kind by its folder, else by the keys it shares with each kind of spec."""
    from perbench.specs.yaml import read

    kinds = {name: kind for name, kind in plugins.KINDS.items() if kind.base is None}
    by_folder = {kind.plural: name for name, kind in kinds.items()}
    for parent in path.absolute().parents:
        if parent.name in by_folder:
            return by_folder[parent.name]
    keys = set(read(path).data)
    shared = {kind: len(keys & _keys(kind)) for kind in kinds}
    best = max(shared, key=lambda kind: shared[kind])
    if shared[best] < 2:
        raise PerbenchError(f"{path}: not a {' nor a '.join(kinds)}; put it below {'/, '.join(by_folder)}/")
    return best


def _keys(kind: str) -> set[str]:
    """The keys of the spec of a YAML kind."""
    from perbench.specs.compose import SPECS

    (spec,) = get_args(get_type_hints(plugins.loader(kind))["return"])  # Named[spec]
    whole = [made for make in SPECS.values() if issubclass(made := make(), spec)]
    return set((whole or [spec])[0].model_fields)
