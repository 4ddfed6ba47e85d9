"""Aliases for modules that plugin files import by their old path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "perbench.attribution": "perbench.prompts.attribution",
    "perbench.contrast": "perbench.lm.contrast",
    "perbench.engines.base": "perbench.contracts.engine",
    "perbench.head": "perbench.lm.head",
    "perbench.metrics.base": "perbench.contracts.metric",
    "perbench.metrics.wordnet": "perbench.text.wordnet",
    "perbench.nltk_data": "perbench.text.tags",
    "perbench.specs.sampling": "perbench.shapes.sampling",
    "perbench.words": "perbench.text.words",
}
"""Path in docs or built-in plugins of version 0.1 -> current path. Plugin files enter identities, so their
imports must keep working unchanged."""


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(MOVED[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to do: it is executed under its own name."""


def install() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
