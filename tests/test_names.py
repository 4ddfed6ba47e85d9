"""Each concept has one name, each class name is defined once, and the engine names no owner."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from perbench import plugins

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "perbench"
TOP = {
    "__init__",
    "__main__",
    "_moved",
    "api",
    "errors",
    "heap",
    "hyperparameters",
    "processes",
    "progress",
    "seeds",
}
GIVEN = {"Keys"}
"""Names that a contract gives to a class in every owner."""
WORDS = {"random", "dialogue", "lm_eval", "kl"}
"""Names of owners that are words of messages, too, the folder of a format that a root may hold, or a class of
a style sheet."""
HOMES = [PACKAGE / kind.home for kind in plugins.KINDS.values() if kind.home is not None]


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "skeletons" not in path.parts]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_no_module_lies_loose_at_the_top() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP


def test_every_class_name_is_defined_once() -> None:
    found = defaultdict(list)
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert {name: places for name, places in found.items() if len(places) > 1 and name not in GIVEN} == {}


def engine() -> list[Path]:
    """The modules that are no owner's. The command line may name what it does by default."""
    owned = [path for path in modules() for home in HOMES if home in path.parents]
    owners = {path for path in owned if not (path.name == "__init__.py" and path.parent in HOMES)}
    return [path for path in modules() if path not in owners and PACKAGE / "cli" not in path.parents]


def texts(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string of a module with its line, docstrings apart: these may give examples."""
    shown = {
        id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)
    }  # docstrings of modules, classes, functions and attributes
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in shown:
            yield node.lineno, node.value


@pytest.mark.parametrize("kind", ["trainer", "identifier", "protocol", "family", "task"])
def test_the_engine_names_no_method_protocol_or_data(kind: str) -> None:
    names = {*plugins.names(kind)} - WORDS
    names |= {name.partition("/")[0] for name in names} - WORDS
    alone = re.compile(rf"(?<![\w./-])({'|'.join(map(re.escape, sorted(names, key=len)))})(?![\w/-])")
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {match[0]}"
        for path in engine()
        for line, text in texts(tree(path))
        if (match := alone.search(text))
    ]
    assert found == []
