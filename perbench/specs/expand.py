"""Lists in a matrix's hyperparameters are axes: expand them to their product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perbench.specs.grid import grid, leaves, nest
from perbench.specs.matrix import MatrixSpec, MethodRow, TrainingSpec


@dataclass(frozen=True)
class Variant:
    """One trainer or identifier with one value per hyperparameter that the matrix names."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


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
