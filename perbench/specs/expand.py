"""Lists in a matrix's hyperparameters are axes: expand them to their product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from perbench.specs.matrix import MatrixSpec, MethodRow, TrainingSpec


@dataclass(frozen=True)
class Variant:
    """One trainer or identifier with one value per hyperparameter that the matrix names."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


def leaves(mapping: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Values that are no mappings, by their key path."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            found.update(leaves(value, (*prefix, key)))
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


def training_variants(spec: MatrixSpec) -> list[tuple[TrainingSpec, dict[str, Any]]]:
    """Every combination of the `training` lists, with the varied keys alone ({"learning_rate": 1e-5,
    "lora.rank": 8}); one TrainingSpec and {} when nothing varies."""
    axes = leaves(spec.training)
    varied = [path for path, value in axes.items() if isinstance(value, list) and len(value) > 1]
    return [
        (TrainingSpec(**nest(point)), {".".join(path): point[path] for path in varied})
        for point in grid(axes)
    ]


def variants(methods: Sequence[str | MethodRow]) -> list[Variant]:
    """Every method with every combination of its `params` lists, in the matrix's order."""
    rows = [MethodRow(name=row) if isinstance(row, str) else row for row in methods]
    return [Variant(row.name, params) for row in rows for params in grid(row.params)]
