"""Describes keys for `perbench show`, and fills in minimal sections for `perbench check`."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from perbench.shapes.fields import MODEL, RUBRIC, marked, sections

SECTION = "section"
"""The type of a key that holds keys of its own."""
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def described(model: type[BaseModel], source: type | None = None, under: str = "") -> list[dict[str, Any]]:
    """One {"name", "type", "default", "required", "text"} per key, followed by a section's own keys.

    Args:
        source: the class whose source holds the docstrings of keys, if `model` was made from it.
    """
    rows: list[dict[str, Any]] = []
    texts = _texts(source or model)
    for name, info in model.model_fields.items():
        inner = section_of(info)
        required = info.is_required()
        default = None if required or inner else info.get_default(call_default_factory=True)
        row = {"name": under + name, "type": _type(info), "default": _plain(default)}
        row["required"] = required
        own = inspect.cleandoc(inner.__dict__.get("__doc__") or "") if inner else ""
        rows.append(row | {"text": texts.get(name) or own})
        rows += described(inner, under=f"{under}{name}.") if inner else []
    return rows


def _texts(cls: type) -> dict[str, str]:
    """The docstrings of the fields of a class and its bases."""
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] in ("builtins", "pydantic", "abc", "typing"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for field, text in pairwise(getattr(tree, "body", ())):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                match text:
                    case ast.Expr(ast.Constant(str(value))):
                        found[field.target.id] = inspect.cleandoc(value)
    return found


def section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The section type of a key, if it may be one."""
    return next(iter(sections(info.annotation)), None)


def _type(info: FieldInfo) -> str:
    for mark in (MODEL, RUBRIC):
        if marked(info, mark):
            return mark.what
    bounds = (
        f" {sign} {limit}"
        for mark in info.metadata
        for key, sign in SIGNS.items()
        if (limit := getattr(mark, key, None)) is not None
    )
    return _shown(info.annotation) + " and".join(bounds)


def _shown(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _shown(args[0])
    if origin is Literal:
        return " | ".join(map(repr, args))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_shown, args))
    if annotation is type(None):
        return "None"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return SECTION
    name = str(getattr(origin or annotation, "__name__", annotation))
    return f"{name}[{', '.join(map(_shown, args))}]" if args else name


def declared(cls: type, contract: type) -> dict[str, Any]:
    """The value of every ClassVar of the contract in a class, JSON-ready."""
    found = {}
    for base in reversed(contract.__mro__):
        for name, hint in inspect.get_annotations(base).items():
            value = getattr(cls, name, type)
            if "ClassVar" in str(hint) and name[0] != "_" and not isinstance(value, type):
                found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, tuple | list):
        return list(map(_plain, value))
    return None if isinstance(value, float) and not isfinite(value) else value


# ---------------------------------------------------------------- minimal sections


def filled(section: type[BaseModel], *, optional: bool, under: str = "") -> dict[str, Any]:
    """Values for required keys, and with `optional` for optional sections; models and texts are set to the
    key's path."""
    return dict(_filled(section, optional, under))


def _filled(section: type[BaseModel], optional: bool, under: str) -> Iterator[tuple[str, Any]]:
    for name, info in section.model_fields.items():
        inner = section_of(info)
        # An optional rubric stands in for the texts beside it, which are enough.
        if inner is not None and (info.is_required() or (optional and not marked(info, RUBRIC))):
            yield name, inner.model_construct(**filled(inner, optional=optional, under=f"{under}{name}."))
        elif info.is_required():
            yield name, _value(info, under + name)


def _value(info: FieldInfo, key: str) -> Any:
    if info.annotation in (int, float):
        limits = [getattr(mark, name, None) for mark in info.metadata for name in ("ge", "le", "gt", "lt")]
        return next((limit for limit in limits if limit), 1)
    if typing.get_origin(info.annotation) is Literal:
        return typing.get_args(info.annotation)[0]
    empty: dict[Any, Any] = {list: [], dict: {}, bool: False}
    return empty.get(typing.get_origin(info.annotation) or info.annotation, key)
