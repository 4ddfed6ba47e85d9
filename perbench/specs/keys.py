"""Adds the keys that owners bring to the spec they are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import create_model
from pydantic.fields import FieldInfo

from perbench import plugins
from perbench.contracts.base import Owner
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict

S = TypeVar("S", bound=Strict)
Owners = Mapping[str, type[Owner[Any]]]


def composed(
    base: type[S], owned: Mapping[str, Owners], replaced: Mapping[str, tuple[Any, Any]] | None = None
) -> type[S]:
    """`base` with the keys of all these owners, by kind and name. A key that one owner requires may be absent
    if another is in force.

    Raises:
        PerbenchError: two owners define one key differently.
    """
    found: dict[str, tuple[Any, Any]] = dict(replaced or {})
    own = base.__name__.strip("_").lower()
    by = {name: ((own, ""), info) for name, info in base.model_fields.items()}
    for kind, classes in owned.items():
        for owner, cls in classes.items():
            for name, info in cls.Keys.model_fields.items():
                other, known = by.setdefault(name, ((kind, owner), info))
                if other != (kind, owner) and repr(known) != repr(info):
                    both = f"{_place(*other)} and {_place(kind, owner)}"
                    raise PerbenchError(f"{both} define the key {name!r} differently; rename one")
                found[name] = _optional(info)
    made: Any = create_model(
        base.__name__.lstrip("_") + ("Spec" if base.__name__[0] == "_" else ""),
        __base__=base,
        __module__=base.__module__,
        **cast(Any, found),
    )
    made.owned = owned  # so that instances find their owners without discovery
    return cast("type[S]", made)


def _place(kind: str, owner: str) -> str:
    return f"{kind} {owner} ({plugins.get(kind, owner).path})" if owner else f"every {kind}"


def _optional(info: FieldInfo) -> tuple[Any, Any]:
    annotation = info.rebuild_annotation()
    if not info.is_required():
        return annotation, info
    return annotation | None, None


def absent_keys(cls: type[Owner[Any]], spec: Strict) -> list[str]:
    """Missing keys that the owner in force requires."""
    needed = (name for name, info in cls.Keys.model_fields.items() if info.is_required())
    return [name for name in needed if getattr(spec, name) is None]
