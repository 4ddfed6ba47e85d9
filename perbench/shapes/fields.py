"""Marks of spec fields: `model: ModelName`, `calibrated: Annotated[bool, SCORING]`. By them the engine finds
the models that a spec names, and derives a section's part of a cell's identity."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from perbench.shapes.base import Strict


@dataclass(frozen=True)
class Mark:
    what: str


SCORING = Mark("scoring")
"""Used only by scores, which are recomputed from stored samples: not in identities."""
LATER = Mark("later")
"""Added after cells had identities: in an identity only if it differs from its default."""
PRIVATE = Mark("private")
"""Belongs to this machine, such as a server's address: left out of packs."""
MODEL = Mark("model")
RUBRIC = Mark("rubric")
"""A rubric may be named instead of written out."""
ModelName = Annotated[str, MODEL]
"""The name of a model; identities hold what identifies the model instead."""


def marked(info: FieldInfo, mark: Mark) -> bool:
    return mark in info.metadata or _within(info.annotation, mark)


def _within(annotation: Any, mark: Mark) -> bool:
    if typing.get_origin(annotation) is Annotated:
        return mark in annotation.__metadata__
    return any(_within(arg, mark) for arg in typing.get_args(annotation))


def sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a value of this type is, or may be; none of what it lists or maps to."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (list, dict):
        return []
    return [model for arg in typing.get_args(annotation) for model in sections(arg)]


@cache
def marked_keys(spec: type[BaseModel], mark: Mark) -> Sequence[tuple[str, ...]]:
    """The key paths of a spec with this mark."""
    found: list[tuple[str, ...]] = []
    for name, info in spec.model_fields.items():
        if marked(info, mark):
            found.append((name,))
        else:
            for inner in sections(info.annotation):
                found += ((name, *rest) for rest in marked_keys(inner, mark))
    return found


def sampled(section: BaseModel, helpers: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a section on which samples depend: everything except what is marked otherwise, JSON-ready;
    `helpers` maps model names to their identities."""
    found: dict[str, Any] = {}
    dumped = section.model_dump(mode="json")
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if marked(info, SCORING) or (marked(info, LATER) and value == info.default):
            continue
        if marked(info, MODEL):
            found[name] = None if value is None else helpers[value]
        else:
            found[name] = sampled(value, helpers) if isinstance(value, BaseModel) else dumped[name]
    return found


def unread(spec: Strict, reads: Collection[str], under: str = "") -> list[str]:
    """The given keys that are not among `reads`, as dotted paths; a section's own name if none of its keys is
    read."""
    found = []
    for name, field in type(spec).model_fields.items():
        key = under + name
        inner = getattr(spec, name)
        absent = inner is None and field.default is None  # `key: null` removes nothing
        if name not in spec.model_fields_set or absent or key in reads:
            continue
        if isinstance(inner, Strict) and any(known.startswith(f"{key}.") for known in reads):
            found += unread(inner, reads, f"{key}.")
        else:
            found.append(key)
    return found
