"""A Python function that yields rows, from a module beside the task's file or an installed package."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from perbench.contracts.source import Rows, Source
from perbench.data.values import numbered
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict
from perbench.shapes.task import FieldSpec


class Keys(Strict):
    python: str
    """ "module:function", called with the split's name; it yields rows (mappings)."""
    requires: str | None = None
    """The pip requirement to install, named if the module is missing."""


class Python(Source[Keys]):
    Keys = Keys

    def faults(self) -> Iterator[str]:
        if self.keys.python.count(":") != 1:
            yield "python must be 'module:function'"

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        called, requires = self.keys.python, self.keys.requires
        module_name, _, function_name = called.partition(":")
        try:
            function = getattr(_module(module_name, folder), function_name, None)
            if function is None:
                raise PerbenchError(f"data.python: module {module_name} has no function {function_name!r}")
            rows = numbered(called, function(split))
        except PerbenchError:
            raise
        except ModuleNotFoundError as error:
            way_out = f"; run: pip install {requires}" if requires else ""
            raise PerbenchError(f"data.python: {called} needs the module {error.name}{way_out}") from error
        except Exception as error:  # foreign code may raise anything
            at = traceback.extract_tb(error.__traceback__)[-1]
            raise PerbenchError(
                f"data.python: {called} raised {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
            ) from error
        described: dict[str, Any] = {"python": called, "split": split}
        if requires:
            name = requires.partition("==")[0]
            try:
                described["package"] = f"{name}=={version(name)}"
            except PackageNotFoundError:
                described["package"] = requires
        return Rows(rows, described, called)

    def files(self, folder: Path) -> list[Path]:
        beside = folder / f"{self.keys.python.partition(':')[0]}.py"
        return [beside] if beside.is_file() else []

    def get(self, described: Mapping[str, Any]) -> str | None:
        return f"pip install {self.keys.requires}" if self.keys.requires else None


def _module(name: str, folder: Path) -> ModuleType:
    """NAME.py in the folder, else the importable module of this name."""
    file = folder / f"{name}.py"
    if not file.is_file():
        return importlib.import_module(name)
    own = str(file.resolve())  # `name` may be that of an installed package
    if own not in sys.modules:
        spec = importlib.util.spec_from_file_location(own, file)
        assert spec is not None
        assert spec.loader is not None, "it ends on .py"
        sys.modules[own] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[own])
        except BaseException:
            del sys.modules[own]
            raise
    return sys.modules[own]
