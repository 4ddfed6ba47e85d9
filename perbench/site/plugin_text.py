"""What a trainer's or identifier's file says about the method, read without importing it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from perbench import plugins
from perbench.errors import PerbenchError
from perbench.plugins import KINDS

LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True)
class Setting:
    """A hyperparameter; `type` in words, `default` as records write it, "" if it has none."""

    name: str
    type: str
    default: str
    text: str


@dataclass(frozen=True)
class PluginText:
    """`place` is the file below its root ("trainers/perce.py"), `summary` its first paragraph, `about` the
    rest of its docstring, `formula` the class's docstring. `declared` are class attributes that are no
    hyperparameters, as Python writes them; `files` are the texts behind `digest`, by name."""

    place: str
    digest: str
    summary: str
    about: str
    formula: str
    settings: tuple[Setting, ...]
    declared: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]


def read_plugin(kind: str, name: str) -> PluginText | None:
    """None if it is not installed, or not readable."""
    try:
        return read_text(plugins.get(kind, name))
    except PerbenchError:
        return None


def read_text(plugin: plugins.Plugin) -> PluginText | None:
    """None if it is not readable."""
    kind, name = plugin.kind, plugin.name
    try:
        text = plugin.path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        digest = plugin.digest()
        files = tuple(_files(plugin))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    summary, about = plugins.split_docstring(tree)
    cls = _class(tree)
    place = f"{KINDS[kind].folder}/{name}{'/' if plugin.path.name == '__init__.py' else '.py'}"
    return PluginText(
        place=place,
        digest=digest,
        summary=summary,
        about=about,
        formula=_unwrapped(ast.get_docstring(cls) or "") if cls is not None else "",
        settings=tuple(_settings(cls)) if cls is not None else (),
        declared=tuple(_declared(cls)) if cls is not None else (),
        files=files,
    )


def _unwrapped(text: str) -> str:
    """Paragraphs on one line each, but for those with indented lines."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        one if any(line.startswith(" ") for line in one.splitlines()) else " ".join(one.split())
        for one in paragraphs
    )


def _files(plugin: plugins.Plugin) -> Iterator[tuple[str, str]]:
    if plugin.path.name != "__init__.py":
        yield plugin.path.name, plugin.path.read_text(encoding="utf-8")
        return
    folder = plugin.path.parent
    for file in sorted(folder.rglob("*.py")):
        yield f"{folder.name}/{file.relative_to(folder).as_posix()}", file.read_text(encoding="utf-8")


def _class(tree: ast.Module) -> ast.ClassDef | None:
    """The plugin's class: the last one, as others are helpers or its bases."""
    found = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return found[-1] if found else None


def _settings(cls: ast.ClassDef) -> Iterator[Setting]:
    for node, after in pairwise([*cls.body, None]):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if node.target.id.startswith("_") or "ClassVar" in ast.unparse(node.annotation):
            continue
        text = ""
        match after:
            case ast.Expr(ast.Constant(str(value))):
                text = inspect.cleandoc(value)
        default = ast.unparse(node.value) if node.value is not None else ""
        yield Setting(node.target.id, _type(node.annotation), _plain(default), text)


def _type(annotation: ast.expr) -> str:
    """ "float ≥ 0", "log | ratio"."""
    if isinstance(annotation, ast.Subscript):
        name, inner = ast.unparse(annotation.value), annotation.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if name.endswith("Annotated") and parts:
            limits = [
                f"{LIMITS[key.arg]} {ast.unparse(key.value)}"
                for mark in parts[1:]
                if isinstance(mark, ast.Call)
                for key in mark.keywords
                if key.arg in LIMITS
            ]
            return f"{_type(parts[0])} {', '.join(limits)}".strip()
        if name.endswith("Literal"):
            return " | ".join(_plain(ast.unparse(part)) for part in parts)
    return ast.unparse(annotation)


def _plain(text: str) -> str:
    """A literal as records write it: a string without quotes, others as JSON."""
    try:
        value = ast.literal_eval(text)
        return value if isinstance(value, str) and value else json.dumps(value)
    except (ValueError, SyntaxError, TypeError):
        return text


def _declared(cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for node in cls.body:
        match node:
            case ast.Assign([ast.Name(name)], value) if not name.startswith("_"):
                yield name, _plain(ast.unparse(value))
            case ast.AnnAssign(ast.Name(name), annotation, value) if value is not None:
                if "ClassVar" in ast.unparse(annotation) and not name.startswith("_"):
                    yield name, _plain(ast.unparse(value))
