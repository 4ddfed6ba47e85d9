"""MatrixSpec -> its cells, with every input resolved; loads data, but neither models nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perbench import data as data_sources
from perbench import models, plugins
from perbench.api import Example, Identifier, Trainer
from perbench.data.sources import has_train_split
from perbench.errors import PerbenchError
from perbench.matrix.identity import (
    Inputs,
    eval_inputs,
    identify_inputs,
    identity_of,
    plugin_inputs,
    train_inputs,
)
from perbench.specs.expand import (
    Variant,
    training_variants,
    variants,
)
from perbench.specs.load import Named, load_model, load_task
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.specs.model import ModelSpec
from perbench.specs.task import TaskSpec
from perbench.store.cell import Kind
from perbench.store.record import Labels

if TYPE_CHECKING:
    from perbench.data import Dataset

ENGINE = "transformers"
ENDPOINT = "openai"


@dataclass(frozen=True)
class Cell:
    """One piece of work. `task` is what it trains on (train) or is evaluated on; `needs` is the train cell
    whose model an eval cell evaluates, None for the base model."""

    kind: Kind
    labels: Labels
    inputs: Inputs
    model: Named[ModelSpec]
    task: Named[TaskSpec]
    trainer: Trainer | None = None
    training: TrainingSpec | None = None
    identifier: Identifier | None = None
    needs: Cell | None = None

    @cached_property
    def identity(self) -> str:
        return identity_of(self.inputs)

    @property
    def split(self) -> Literal["train", "test"]:
        return "train" if self.kind == "train" else "test"

    def __str__(self) -> str:
        return describe(self.kind, self.labels)


def describe(kind: str, labels: Labels) -> str:
    """A cell in one line: "eval smollm2-135m perce(upper=5.0) embedded/sotu_writing -> embedded/dialogue"."""
    way = " -> ".join(name for name in (labels.source, labels.target) if name)
    return f"{kind} {labels.model} {made_by(labels)} {way} seed {labels.seed}"


def made_by(labels: Labels) -> str:
    """The method of a cell with what the matrix says of it: "perce(upper=5.0, learning_rate=1e-05)"."""
    if labels.identifier is not None:
        return labels.identifier + _params(labels.identifier_params)
    return (
        labels.trainer + _params({**labels.trainer_params, **labels.training}) if labels.trainer else "base"
    )


def _params(params: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{name}={value}' for name, value in params.items())})" if params else ""


def model_inputs(model: Named[ModelSpec]) -> Inputs:
    """What identifies a model: its weights by content, and the dtype they are loaded in."""
    return {**models.identify(model), "dtype": model.spec.dtype}


class Catalogue:
    """The tasks, data and models of a matrix, each loaded once. `limit` caps the examples of every split."""

    def __init__(self, spec: MatrixSpec, data: Mapping[str, Path], limit: int | None) -> None:
        self._spec = spec
        self._data = data
        self._limit = limit
        self._tasks: dict[str, Named[TaskSpec]] = {}
        self._datasets: dict[tuple[str, str], Dataset] = {}
        self._models: dict[str, tuple[Named[ModelSpec], Inputs]] = {}

    def task(self, name: str) -> Named[TaskSpec]:
        if name not in self._tasks:
            overrides = self._spec.tasks.get(name, {})
            self._tasks[name] = load_task(name, data=self._data, overrides=overrides)
        return self._tasks[name]

    def target_label(self, name: str) -> str:
        """The task's name in tables, with the name of the data file where another than its own is read."""
        file = self._spec.tasks.get(name, {}).get("data.files")
        return f"{name} ({Path(file).name})" if file else name

    def dataset(self, task: str, split: Literal["train", "test"]) -> Dataset:
        if (task, split) not in self._datasets:
            self._datasets[task, split] = data_sources.load_examples(self.task(task), split, self._limit)
        return self._datasets[task, split]

    def dev(self, task: str) -> Dataset | None:
        """The split that an identification task's thresholds are chosen on, None where it has none."""
        named = self.task(task)
        beside = named.path.parent if named.path is not None else None
        return self.dataset(task, "train") if has_train_split(named.spec.data, beside) else None

    def examples(self, cell: Cell) -> list[Example]:
        """All that a cell reads, the examples that thresholds are chosen on among them."""
        dev = self.dev(cell.task.name) if cell.kind == "identify" else None
        return [
            *(dev.examples if dev is not None else ()),
            *self.dataset(cell.task.name, cell.split).examples,
        ]

    def model(self, name: str) -> Named[ModelSpec]:
        return self._model(name)[0]

    def label(self, name: str) -> str:
        """The model's name in records: a local folder's last part, since paths stay on their machine."""
        named = self.model(name)
        return Path(name).name if named.path is None and named.spec.path is not None else named.name

    def model_inputs(self, name: str) -> Inputs:
        return self._model(name)[1]

    def _model(self, name: str) -> tuple[Named[ModelSpec], Inputs]:
        if name not in self._models:
            named = load_model(name)
            self._models[name] = named, model_inputs(named)
        return self._models[name]


def expand(spec: MatrixSpec, catalogue: Catalogue) -> list[Cell]:
    """All cells: each trained model once, each evaluated on every target; base rows; identifiers.

    Order: by model; its training, then base rows, identification (no chance in it: the first seed stands for
    all), and each trained model's evaluations.

    Raises:
        PerbenchError: data that cannot be had, or two labels for the same work (two names of one model).
    """
    tasks = [catalogue.task(name) for name in spec.targets]
    targets = [task for task in tasks if task.spec.protocol != "identification"]
    benchmarks = [task for task in tasks if task.spec.protocol == "identification"]
    cells: list[Cell] = []
    for model in spec.models:
        trained = [
            _train_cell(catalogue, model, variant, training, varied, source, seed)
            for source in spec.sources
            for variant in variants(spec.trainers)
            for training, varied in training_variants(spec)
            for seed in spec.seeds
        ]
        cells += trained
        if spec.base_rows:
            cells += [
                _eval_cell(catalogue, model, None, task, seed) for task in targets for seed in spec.seeds
            ]
        cells += [
            _identify_cell(catalogue, model, variant, task, spec.seeds[0])
            for task in benchmarks
            for variant in variants(spec.identifiers)
        ]
        cells += [
            _eval_cell(catalogue, model, cell, task, cell.labels.seed) for cell in trained for task in targets
        ]
    _check_distinct(cells)
    return cells


def _check_distinct(cells: list[Cell]) -> None:
    seen: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        other = seen.setdefault((cell.kind, cell.identity), cell)
        if other is not cell:
            raise PerbenchError(f"the matrix names the same work twice: [{other}] and [{cell}]; remove one")


def _train_cell(
    catalogue: Catalogue,
    model: str,
    variant: Variant,
    training: TrainingSpec,
    varied: dict[str, Any],
    source: str,
    seed: int,
) -> Cell:
    named, task = catalogue.model(model), catalogue.task(source)
    trainer = plugins.load_trainer(variant.name, variant.params)
    wanted = trainer.reference()
    reference = None if wanted in (None, "initial") else (wanted, catalogue.model_inputs(wanted))
    digest = plugins.get("trainer", variant.name).digest()
    inputs = train_inputs(
        model=catalogue.model_inputs(model),
        trainer=plugin_inputs(variant.name, digest, trainer.params, reference),
        source=source,
        task=task.spec,
        data=catalogue.dataset(source, "train").digest,
        training=training,
        seed=seed,
    )
    labels = Labels(
        model=catalogue.label(model),
        model_label=named.spec.label,
        trainer=variant.name,
        trainer_params={
            key: catalogue.label(value) if reference is not None and value == wanted else value
            for key, value in variant.params.items()
        },
        training=varied,
        source=source,
        seed=seed,
    )
    return Cell("train", labels, inputs, named, task, trainer=trainer, training=training)


def _eval_cell(
    catalogue: Catalogue, model: str, trained: Cell | None, task: Named[TaskSpec], seed: int
) -> Cell:
    named = catalogue.model(model)
    inputs = eval_inputs(
        model=catalogue.model_inputs(model),
        train=trained.identity if trained is not None else None,
        target=task.name,
        task=task.spec,
        data=catalogue.dataset(task.name, "test").digest,
        engine=ENGINE if named.spec.endpoint is None else ENDPOINT,
        seed=seed,
        helpers={name: catalogue.model_inputs(name) for name in sorted(task.spec.helpers)},
    )
    if trained is not None:
        labels = trained.labels.model_copy(update={"target": task.name})
    else:
        labels = Labels(
            model=catalogue.label(model), model_label=named.spec.label, target=task.name, seed=seed
        )
    return Cell("eval", labels, inputs, named, task, needs=trained)


def _identify_cell(
    catalogue: Catalogue, model: str, variant: Variant, task: Named[TaskSpec], seed: int
) -> Cell:
    named = catalogue.model(model)
    identifier = plugins.load_identifier(variant.name, variant.params)
    dev = catalogue.dev(task.name)
    inputs = identify_inputs(
        model=catalogue.model_inputs(model),
        identifier=plugin_inputs(
            variant.name, plugins.get("identifier", variant.name).digest(), identifier.params
        ),
        target=task.name,
        task=task.spec,
        data=catalogue.dataset(task.name, "test").digest,
        dev=dev.digest if dev is not None else None,
        engine=ENGINE if named.spec.endpoint is None else ENDPOINT,
    )
    labels = Labels(
        model=catalogue.label(model),
        model_label=named.spec.label,
        target=catalogue.target_label(task.name),
        identifier=variant.name,
        identifier_params=dict(variant.params),
        seed=seed,
    )
    return Cell("identify", labels, inputs, named, task, identifier=identifier)
