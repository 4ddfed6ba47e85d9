"""Converts pydantic's errors to Problems with line, key path and what to do."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from perbench.errors import Problem, suggest
from perbench.shapes.fields import sections
from perbench.shapes.plugged import Broken
from perbench.specs.yaml import KeyPath, Place, describe

S = TypeVar("S", bound=BaseModel)

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def check(
    model: type[S], data: Mapping[str, Any], place: Callable[[KeyPath], Place]
) -> tuple[S | None, list[Problem]]:
    """The validated model, or None and every fault at the place of its key."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, _problems(model, data, place, error.errors())


def known_keys(annotation: Any) -> list[str]:
    """Keys that a value of this type may have; empty for any or none."""
    return [name for model in sections(annotation) for name in model.model_fields]


def path_fault(model: type[BaseModel], dotted: str) -> str | None:
    """The fault of a dotted key path into a spec, or None."""
    annotation: Any = model
    walked: list[str] = []
    for part in dotted.split("."):
        inner = _descend(annotation, part)
        if inner is None:
            where = f" under {'.'.join(walked)}" if walked else ""
            keys = known_keys(annotation)
            return f"unknown key {part!r}{where}." + (suggest(part, keys) if keys else " It takes no keys.")
        annotation = inner
        walked.append(part)
    return None


def holds_list(model: type[BaseModel], dotted: str) -> bool:
    """Whether the value at a dotted key path into a spec may be a list."""
    annotation: Any = model
    for part in dotted.split("."):
        annotation = _descend(annotation, part)
    return annotation is Any or any(
        typing.get_origin(member) is list for member in (annotation, *typing.get_args(annotation))
    )


def empties(model: type[BaseModel], dotted: str, *, there: bool) -> bool:
    """Whether {} at a dotted key path into a spec would remove a section's keys. It enables an optional
    section that is not `there`, and is a value of its own if any keys are allowed."""
    annotation = _type_at(model, tuple(dotted.split(".")))
    return bool(sections(annotation)) and (there or type(None) not in typing.get_args(annotation))


def _descend(annotation: Any, key: str | int) -> Any:
    """The type under a key of a mapping or list type; None if there can be no such key."""
    if annotation is Any:
        return Any
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return field.annotation if field else None
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is dict:
        return args[1]
    if origin is list:
        return args[0] if isinstance(key, int) else None
    found = (_descend(arg, key) for arg in args if arg is not type(None) and not isinstance(arg, str))
    return next((inner for inner in found if inner is not None), None)


def _shown(path: KeyPath) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def _problems(
    model: type[BaseModel], data: Any, place: Callable[[KeyPath], Place], errors: list[ErrorDetails]
) -> list[Problem]:
    found: list[Problem] = []
    expected: dict[KeyPath, tuple[Any, list[str]]] = {}
    broken = [error for error in errors if isinstance(error.get("ctx", {}).get("error"), Broken)]
    unknowable = {_walk(model, data, error["loc"])[0][:-1] for error in broken}
    for error in errors:
        path, value, annotation, in_union = _walk(model, data, error["loc"])
        kind = error["type"]
        if kind in _EXPECTED:
            # A union reports one such error per member; a mapping is meant for the member that accepts one.
            if not (in_union and isinstance(value, dict)):
                expected.setdefault(path, (value, []))[1].append(_EXPECTED[kind])
            continue
        if kind == "extra_forbidden" and path[:-1] in unknowable:
            continue
        if kind == "extra_forbidden":
            where = f" in {_shown(path[:-1])}" if path[:-1] else ""
            keys = known_keys(_type_at(model, path[:-1]))
            found.append(
                place(path).problem(f"unknown key {path[-1]!r}{where}.{suggest(str(path[-1]), keys)}")
            )
        elif kind == "missing":
            where = f" in {_shown(path)}" if path else ""
            found.append(place(path).problem(f"missing key {str(error['loc'][-1])!r}{where}"))
        elif kind == "value_error":
            for line in str(error["ctx"]["error"]).splitlines():
                where = f"{_shown(path)}: " if path else ""
                found.append(place((*path, *_subject(line))).problem(where + line))
        elif kind == "literal_error":
            options = [str(option) for option in _literals(annotation)]
            message = f"{_shown(path)}: got {describe(value)}.{suggest(str(value), options)}"
            found.append(place(path).problem(message))
        elif kind == "too_short":
            found.append(place(path).problem(f"{_shown(path)}: an empty list; name at least one"))
        else:
            message = error["msg"][0].lower() + error["msg"][1:]
            found.append(place(path).problem(f"{_shown(path)}: {message}, got {describe(value)}"))
    for path, (value, kinds) in expected.items():
        wanted = " or ".join(dict.fromkeys(kinds))
        found.append(place(path).problem(f"{_shown(path)}: expected {wanted}, got {describe(value)}"))
    return found


def _walk(model: type[BaseModel], data: Any, loc: tuple[int | str, ...]) -> tuple[KeyPath, Any, Any, bool]:
    """Follow pydantic's location through the data, skipping names of union members."""
    path: KeyPath = ()
    value, skipped = data, False
    for key in loc:
        if (isinstance(value, dict) and key in value) or (isinstance(value, list) and isinstance(key, int)):
            value, path = value[key], (*path, key)  # type: ignore[index]
        else:
            skipped = True
    return path, value, _type_at(model, path), skipped


def _type_at(annotation: Any, path: KeyPath) -> Any:
    for key in path:
        annotation = _descend(annotation, key)
    return annotation


def _literals(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    return [option for arg in typing.get_args(annotation) for option in _literals(arg)]


def _subject(message: str) -> KeyPath:
    """The key at the start of a validator's message: "fields.user is...", "rows.2: ..."."""
    parts = message.split()[0].strip("`:,").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts)
