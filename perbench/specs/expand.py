"""Expands lists in a matrix's hyperparameters, the axes of a grid, to their product."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perbench.specs.grid import grid, leaves, nest
from perbench.specs.matrix import MatrixSpec, MethodRow, TrainerRow, TrainingSpec
from perbench.specs.rows import OWN, TaskRow, TaskVariant, own_variant, task_variants

Path = tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """One trainer or identifier with one value per hyperparameter in the matrix. `training`: a trainer's own
    values of TrainingSpec keys, by key path; `targets`: those of its row, None for the matrix's; `by_source`:
    hyperparameters and own keys ("alpha", "lora.rank") with a value for each source."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[Path, Any] = field(default_factory=dict)
    targets: Sequence[str | TaskRow] | None = None
    by_source: frozenset[str] = frozenset()

    def shown(self, varied: Mapping[str, Any]) -> dict[str, Any]:
        """The method's own values for labels: {"alpha": 0.05, "training.learning_rate": 1e-5}; without the
        keys of `varied`, which distinguish trainings of any trainer."""
        own = {".".join(path): value for path, value in self.training.items()}
        return {**self.params, **{f"training.{key}": own[key] for key in own if key not in varied}}


@dataclass(frozen=True)
class Training:
    """A trainer on a source, for any model and seed. `varied`: the training keys that the matrix varies;
    `by_source`: as of a variant, those of the matrix included."""

    source: TaskVariant
    trainer: Variant
    spec: TrainingSpec
    varied: Mapping[str, Any]
    by_source: frozenset[str]

    def targets(self, spec: MatrixSpec) -> list[TaskVariant]:
        """What its models are evaluated on, each once."""
        rows = spec.targets if self.trainer.targets is None else self.trainer.targets
        return _once(own_variant(self.source, target) for target in task_variants(rows))


def trainings(spec: MatrixSpec) -> Iterator[Training]:
    """All trainings, in the matrix's order, by source."""
    for source in task_variants(spec.sources):
        for trainer in trainers_on(spec, source):
            for training, varied in training_variants(spec, trainer, source):
                yield Training(source, trainer, training, varied, _by_source(spec, trainer))


def base_targets(spec: MatrixSpec) -> list[TaskVariant]:
    """What untrained models are evaluated on; for OWN, each source's task."""
    sources = task_variants(spec.sources)
    return _once(
        own_variant(source, target)
        for target in task_variants(spec.targets)
        for source in (sources if target.task == OWN else [target])
    )


def every_task(spec: MatrixSpec) -> list[TaskVariant]:
    """All sources and targets, each once."""
    trained = [target for one in trainings(spec) for target in one.targets(spec)]
    return _once([*task_variants(spec.sources), *base_targets(spec), *trained])


def _once(found: Iterable[TaskVariant]) -> list[TaskVariant]:
    return list({variant.key: variant for variant in found}.values())


def source_names(spec: MatrixSpec) -> frozenset[str]:
    """The names of sources under which values may be given: tasks, and names in tables."""
    return frozenset(name for one in task_variants(spec.sources) for name in (one.task, one.label()))


def given_by_source(names: frozenset[str]) -> Callable[[Mapping[Any, Any]], bool]:
    """Whether a mapping holds a value for each of some sources, and no keys of a section."""
    return lambda value: any(key in names for key in value)


def trainers_on(spec: MatrixSpec, source: TaskVariant) -> list[Variant]:
    """Every trainer that is trained on a source, with every combination of its lists."""
    by_source = given_by_source(source_names(spec))
    found = []
    for row in spec.trainers:
        row = TrainerRow(name=row) if isinstance(row, str) else row
        if row.sources is not None and {source.task, source.label()}.isdisjoint(row.sources):
            continue
        given: dict[Path, Any] = {(name,): value for name, value in row.params.items()}
        own = leaves(row.training, whole=by_source)
        named = {
            ".".join(path)
            for path, value in [*given.items(), *own.items()]
            if isinstance(value, Mapping) and by_source(value)
        }
        found += [
            Variant(
                row.name,
                {name: value for (name,), value in params.items()},
                training,
                row.targets,
                frozenset(named),
            )
            for params in grid(_at(given, source, by_source))
            for training in grid(_at(own, source, by_source))
        ]
    return found


def training_variants(
    spec: MatrixSpec, trainer: Variant, source: TaskVariant
) -> list[tuple[TrainingSpec, dict[str, Any]]]:
    """Every combination of the matrix's `training` lists for a trainer, with the keys that the matrix varies
    ({"learning_rate": 1e-5, "lora.rank": 8}), including the trainer's own values; one TrainingSpec and {} if
    nothing varies."""
    by_source = given_by_source(source_names(spec))
    given = leaves(spec.training, whole=by_source)
    own = trainer.training
    shared = {
        path: value
        for path, value in _at(given, source, by_source).items()
        if not any(path[: len(other)] == other[: len(path)] for other in own)
    }
    axes = {**shared, **own}
    varied = [path for path, value in given.items() if path in axes and _varies(value)]
    return [
        (TrainingSpec(**nest(point)), {".".join(path): point[path] for path in varied})
        for point in grid(axes)
    ]


def _varies(value: Any) -> bool:
    return (isinstance(value, list) and len(value) > 1) or (isinstance(value, Mapping) and bool(value))


def _by_source(spec: MatrixSpec, trainer: Variant) -> frozenset[str]:
    by_source = given_by_source(source_names(spec))
    given = leaves(spec.training, whole=by_source)
    named = {path for path, value in given.items() if isinstance(value, Mapping) and by_source(value)}
    return trainer.by_source | {".".join(path) for path in named - trainer.training.keys()}


def _at(
    values: Mapping[Path, Any], source: TaskVariant, by_source: Callable[[Mapping[Any, Any]], bool]
) -> dict[Path, Any]:
    """Values given for each source replaced by that of one."""

    def at(value: Any) -> Any:
        if not isinstance(value, Mapping) or not by_source(value):
            return value
        label = source.label()
        return value[label] if label in value else value[source.task]

    return {path: at(value) for path, value in values.items()}


def variants(methods: Sequence[str | MethodRow]) -> list[Variant]:
    """Every identifier with every combination of its lists, in the matrix's order."""
    rows = [MethodRow(name=row) if isinstance(row, str) else row for row in methods]
    return [Variant(row.name, params) for row in rows for params in grid(row.params)]
