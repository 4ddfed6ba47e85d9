"""Expands lists in a matrix's hyperparameters, the axes of a grid, to their product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perbench.specs.grid import grid, leaves, nest
from perbench.specs.matrix import MatrixSpec, MethodRow, TrainerRow, TrainingSpec


@dataclass(frozen=True)
class Variant:
    """One trainer or identifier with one value per hyperparameter in the matrix. `training`: a trainer's own
    values of TrainingSpec keys, by key path."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[tuple[str, ...], Any] = field(default_factory=dict)

    def shown(self, varied: Mapping[str, Any]) -> dict[str, Any]:
        """The method's own values for labels: {"alpha": 0.05, "training.learning_rate": 1e-5}; without the
        keys of `varied`, which distinguish trainings of any trainer."""
        own = {".".join(path): value for path, value in self.training.items()}
        return {**self.params, **{f"training.{key}": own[key] for key in own if key not in varied}}


def training_variants(spec: MatrixSpec, trainer: Variant) -> list[tuple[TrainingSpec, dict[str, Any]]]:
    """Every combination of the matrix's `training` lists for a trainer, with the keys that the matrix varies
    ({"learning_rate": 1e-5, "lora.rank": 8}), including the trainer's own values; one TrainingSpec and {} if
    nothing varies."""
    given = leaves(spec.training)
    own = trainer.training
    shared = {
        path: value
        for path, value in given.items()
        if not any(path[: len(other)] == other[: len(path)] for other in own)
    }
    axes = {**shared, **own}
    varied = [
        path for path, value in given.items() if path in axes and isinstance(value, list) and len(value) > 1
    ]
    return [
        (TrainingSpec(**nest(point)), {".".join(path): point[path] for path in varied})
        for point in grid(axes)
    ]


def variants(methods: Sequence[str | MethodRow]) -> list[Variant]:
    """Every method with every combination of its lists, in the matrix's order."""
    rows = [MethodRow(name=row) if isinstance(row, str) else row for row in methods]
    return [
        Variant(row.name, params, training)
        for row in rows
        for params in grid(row.params)
        for training in grid(leaves(row.training) if isinstance(row, TrainerRow) else {})
    ]
