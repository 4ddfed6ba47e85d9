"""perbench validate: check spec files and plugins without running them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.errors import PerbenchError, SpecError
from perbench.progress import counted

SUMMARY = "check specs and plugins: the files given, else everything in all roots"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="YAML specs or Python plugins")


def run(args: argparse.Namespace) -> int:
    checks: list[Callable[[], None]] = [partial(_check_file, path) for path in args.files]
    faults: list[str] = []
    if not args.files:
        faults += plugins.root_problems()
        checks = [partial(check_plugin, plugin) for plugin in plugins.discover().values()]
    for check in checks:
        try:
            check()
        except SpecError as error:
            faults += map(str, error.problems)
        except PerbenchError as error:
            faults.append(str(error))
    faults = list(dict.fromkeys(faults))  # a matrix repeats the faults of the tasks it names
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{counted(len(checks), 'file')} checked, {counted(len(faults), 'fault')}", file=sys.stderr)
    return 2 if faults else 0


def check_plugin(plugin: plugins.Plugin) -> None:
    """Load a plugin: raises PerbenchError with its faults."""
    if plugins.KINDS[plugin.kind].base is None:
        _load_spec(plugin.kind, plugin.name)
        return
    from perbench.hyperparameters import Hyperparameters

    cls = plugin.load_class()
    if not issubclass(cls, Hyperparameters):  # an owner: its keys are checked in the tasks that use it
        return
    wrong = [message for _, message in cls.faults({}) if "is required" not in message]
    if wrong:
        raise PerbenchError(f"{plugin.path}: default of {'; '.join(wrong)}")


def _load_spec(kind: str, name: str) -> None:
    from perbench.specs.load import load_model, load_task
    from perbench.specs.matrices import load_matrix

    load: dict[str, Callable[[str], Any]] = {"task": load_task, "model": load_model, "matrix": load_matrix}
    spec = load[kind](name)
    if kind == "matrix":
        from perbench.matrix.absent import absent_for

        for line in absent_for(spec.spec):
            print(f"matrix {spec.name}, before it runs: {line}", file=sys.stderr)
    if kind == "task" and spec.spec.data.files is not None:
        from perbench.data.check import check_rows

        for line in check_rows(spec):
            print(f"task {spec.name}: {line}", file=sys.stderr)


def _check_file(path: Path) -> None:
    if path.suffix in (".yaml", ".yml"):
        _load_spec(_kind_of(path), str(path))
        return
    folders = {kind.folder: name for name, kind in plugins.KINDS.items() if kind.base is not None}
    parent = path.absolute().parent
    folder = next((folder for folder in folders if parent.match(folder)), None)
    if not path.exists():
        raise PerbenchError(f"{path}: no such file")
    if path.is_dir():
        raise PerbenchError(f"{path}: is a folder; name files, or check all of a root: --include {path}")
    if path.suffix != ".py" or folder is None:
        told = ", ".join(f"{folder}/" for folder in folders)
        raise PerbenchError(f"{path}: is no YAML file and no Python file in one of the folders {told}")
    root = path.resolve().parents[len(Path(folder).parts)]
    if root not in [known.path for known in plugins.roots()]:
        plugins.include(root)
    check_plugin(plugins.get(folders[folder], path.stem))


def _kind_of(path: Path) -> str:
    """A file's kind by its folder, else by the keys it shares with each kind of spec."""
    from perbench.shapes.base import Strict
    from perbench.shapes.model import ModelSpec
    from perbench.shapes.task import TaskSpec
    from perbench.specs.matrix import MatrixSpec
    from perbench.specs.yaml import read

    folders = {"tasks": "task", "models": "model", "matrices": "matrix"}
    for parent in path.absolute().parents:
        if parent.name in folders:
            return folders[parent.name]
    keys = set(read(path).data)
    kinds: dict[str, type[Strict]] = {"task": TaskSpec, "model": ModelSpec, "matrix": MatrixSpec}
    shared = {kind: len(keys & set(spec.model_fields)) for kind, spec in kinds.items()}
    best = max(shared, key=lambda kind: shared[kind])
    if shared[best] < 2:
        raise PerbenchError(
            f"{path}: neither a task nor a model nor a matrix; put it below {'/, '.join(folders)}/"
        )
    return best
