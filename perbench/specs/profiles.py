"""Profiles of a matrix: changes to it under a name, one of which is in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perbench.errors import PerbenchError, Problem, suggest
from perbench.specs.load import put
from perbench.specs.names import set_path
from perbench.specs.yaml import Document, describe

KEY = "profiles"


def profiles_of(document: Document) -> list[str]:
    """The names of a matrix's profiles, in order; the first is in force unless another is asked for."""
    given = document.data.get(KEY)
    return list(given) if isinstance(given, dict) else []


def apply_profile(document: Document, asked: str | None) -> tuple[str | None, list[Problem]]:
    """Apply a profile to a matrix's document, which then holds its name and no profiles; returns the name and
    the faults of its changes, by line.

    Raises:
        PerbenchError: there is no such profile.
    """
    given = document.data.pop(KEY, None)
    place = document.place((KEY,))
    if given is not None and not (isinstance(given, dict) and given):
        return None, [place.problem(f"{KEY}: expected a mapping of names to changes, got {describe(given)}")]
    names = list(given or ())
    name = asked if asked is not None else names[0] if names else None
    if name is None:
        return None, []
    if name not in names:
        known = suggest(name, names) if names else " It has none."
        raise PerbenchError(f"--profile {name}: the matrix has no such profile.{known}")
    changes = given[name] if given is not None else None
    problems: list[Problem] = []
    if not isinstance(changes, Mapping):
        where = document.place((KEY, name))
        return name, [where.problem(f"{KEY}.{name}: expected changes by key, got {describe(changes)}")]
    for dotted, value in changes.items():
        problems += _change(document, name, str(dotted), value)
    document.data["profile"] = name
    return name, problems


def _change(document: Document, name: str, dotted: str, value: Any) -> list[Problem]:
    where = (KEY, name, dotted)
    place = document.place(where)
    keys, fault = set_path(document, dotted)
    fault = fault or put(document, keys, value, place)
    if fault is not None:
        return [place.problem(f"{KEY}.{name}: {fault}")]
    inside = {path[3:]: at for path, at in document.places.items() if path[:3] == where and path[3:]}
    document.places |= {(*keys, *path): at for path, at in inside.items()}
    return []
