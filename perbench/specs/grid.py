"""Nested mappings by key path, and products of their lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any


def leaves(
    mapping: Mapping[str, Any],
    prefix: tuple[str, ...] = (),
    whole: Callable[[Mapping[str, Any]], bool] = lambda value: False,
) -> dict[tuple[str, ...], Any]:
    """Values other than non-empty mappings, by key path; `whole`: whether a mapping is a value itself."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value and not whole(value):
            found.update(leaves(value, (*prefix, key), whole))
        else:
            found[(*prefix, key)] = value
    return found


def nest(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """The inverse of `leaves`."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        inner = root
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    return root


def grid(axes: Mapping[Any, Any]) -> list[dict[Any, Any]]:
    """Every combination of the values that are lists."""
    choices = [value if isinstance(value, list) else [value] for value in axes.values()]
    return [dict(zip(axes, point, strict=True)) for point in product(*choices)]
