"""Reports exceptions of a plugin's own code by file and line."""

from __future__ import annotations

import inspect
import traceback
from dataclasses import dataclass
from pathlib import Path

from perbench import plugins
from perbench.plugins.roots import KINDS

MODULES = {f"{kind.namespace}.": name for name, kind in KINDS.items() if kind.base is not None}
"""Kinds of plugins by the prefix of their module names."""


@dataclass(frozen=True)
class PluginFault:
    """The innermost line in a plugin's file when an exception was raised there or below."""

    plugin: plugins.Plugin
    line: int
    raised: str

    @property
    def place(self) -> str:
        """The file relative to its root: records hold no machine paths."""
        folder = KINDS[self.plugin.kind].folder
        parts = self.plugin.path.parts
        for place in range(len(parts) - 1, -1, -1):  # a file may belong to a plugin's folder
            if "/".join(parts[place - folder.count("/") : place + 1]) == folder:
                return "/".join([folder, *parts[place + 1 :]])
        return f"{folder}/{self.plugin.path.name}"

    def message(self, file: Path | str) -> str:
        return f"{file}:{self.line}: {self.plugin.kind} {self.plugin.name!r} raised {self.raised}"


def place_of(plugin: object, method: str) -> str:
    """The location of a plugin's method: "trainers/my_loss.py:17"."""
    cls = type(plugin)
    for base in cls.__mro__:  # a method may be inherited
        if method in vars(base):
            code = inspect.unwrap(getattr(base, method)).__code__
            return f"{Path(code.co_filename).parent.name}/{Path(code.co_filename).name}:{code.co_firstlineno}"
    return cls.__name__


def fault_of(error: BaseException) -> PluginFault | None:
    """The fault of a plugin, or None if no plugin was running."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        for start, kind in MODULES.items():
            if module.startswith(start):
                file = Path(frame.f_code.co_filename)
                plugin = plugins.Plugin(kind, module.removeprefix(start).partition(".")[0], file)
                found = PluginFault(plugin, line, f"{type(error).__name__}: {error}")
    return found
