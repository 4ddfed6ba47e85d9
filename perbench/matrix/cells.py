"""Expands a MatrixSpec to cells with resolved inputs; loads data, but neither models nor torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from perbench import plugins
from perbench.api import Example, Identifier, Trainer
from perbench.contracts.data import Dataset
from perbench.data.overlap import Overlap
from perbench.errors import PerbenchError
from perbench.heap import growing
from perbench.matrix.catalogue import Catalogue, LabelledTask, computed
from perbench.matrix.identity import (
    Inputs,
    Shared,
    eval_inputs,
    identify_inputs,
    identity_of,
    plugin_inputs,
    source_inputs,
    target_inputs,
    train_inputs,
)
from perbench.matrix.offers import check_adapters, check_identifier, check_roles, trainable_models
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.task import Split, TaskSpec
from perbench.specs.compose import engine_inputs, helpers_of, owner_of
from perbench.specs.contests import Candidacy, candidacies
from perbench.specs.expand import Training, Variant, base_targets, trainings, variants
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.specs.rows import TaskVariant, validation_label
from perbench.store.cell import Kind
from perbench.store.record import Labels
from perbench.training.inputs import check_settings


@dataclass(frozen=True)
class Cell:
    """One unit of work. `task` is what it trains on (train) or is evaluated on, `data` the split that is
    read, `dev` the one on which thresholds are chosen; `seed` is that of a training or of sampling; `needs`
    is the train cell whose model an eval cell evaluates, None for the base model; `overlap` lists its test
    examples seen in training or in `dev`, None for a training."""

    kind: Kind
    labels: Labels
    inputs: Inputs
    model: Named[ModelSpec]
    task: Named[TaskSpec]
    data: Dataset = field(repr=False)
    seed: int
    trainer: Trainer | None = None
    training: TrainingSpec | None = None
    identifier: Identifier | None = None
    candidacy: Candidacy | None = None
    """Of a training from which `select` chooses, and of the evaluation that it is chosen by."""
    by_source: frozenset[str] = frozenset()
    """Hyperparameters and training keys with a value for each source, of a training."""
    needs: Cell | None = None
    dev: Dataset | None = field(default=None, repr=False)
    overlap: Overlap | None = None

    @cached_property
    def identity(self) -> str:
        return identity_of(self.inputs)

    @property
    def examples(self) -> list[Example]:
        """All examples that it reads, including those on which thresholds are chosen."""
        return [*(self.dev.examples if self.dev is not None else ()), *self.data.examples]

    @property
    def size(self) -> int:
        """Number of its examples."""
        return (len(self.dev.examples) if self.dev is not None else 0) + len(self.data.examples)

    @property
    def sample_ids(self) -> Sequence[str] | None:
        """The expected ids of its samples; None if known only at run time."""
        owner = owner_of(self.task.spec)
        return None if owner.late else owner.sample_ids(self.data, self.dev)

    def __str__(self) -> str:
        return describe(self.kind, self.labels)


def describe(kind: str, labels: Labels) -> str:
    """A cell on one line: "eval smollm2-135m perce(upper=5.0) embedded/sotu_writing -> embedded/dialogue"."""
    way = " -> ".join(name for name in (labels.source, labels.target) if name)
    return f"{kind} {labels.model} {made_by(labels)} {way} seed {labels.seed}"


def made_by(labels: Labels) -> str:
    """The method of a cell with its settings from the matrix: "perce(upper=5.0, learning_rate=1e-05)"."""
    if labels.identifier is not None:
        return labels.identifier + _params(labels.identifier_params)
    return (
        labels.trainer + _params({**labels.trainer_params, **labels.training}) if labels.trainer else "base"
    )


def _params(params: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{name}={value}' for name, value in params.items())})" if params else ""


@growing()
def expand(spec: MatrixSpec, catalogue: Catalogue, chosen: Collection[str] = ()) -> list[Cell]:
    """All cells: each trained model once, each evaluated on every target; base rows; identifiers.

    Order: by model; base rows, identification (deterministic, so only with the first seed), then each
    training with its evaluations. First results come early, and errors in a target appear before hours of
    training.

    Args:
        chosen: identities of the trainings that `select` has chosen (`perbench.matrix.select`): the others
            among which it chooses are evaluated only to choose.

    Raises:
        PerbenchError: unavailable data, tasks that endpoints cannot do, or two labels for the same work (two
            names of one model).
    """
    trained = [*trainings(spec)]
    known: dict[tuple[str, str], _MatrixTask] = {}

    def task_of(variant: TaskVariant) -> _MatrixTask:
        return known.setdefault(variant.key, _MatrixTask(catalogue, catalogue.task(variant)))

    tasks = [*map(task_of, base_targets(spec))]
    targets = [task for task in tasks if owner_of(task.named.spec).cells == "eval"]
    benchmarks = [task for task in tasks if owner_of(task.named.spec).cells == "identify"]
    reached = [[*map(task_of, one.targets(spec))] for one in trained]
    for task in dict.fromkeys(task for held in (tasks, *reached) for task in held):
        check_roles(task.named, spec, catalogue.model)
    trainable = trainable_models(spec, catalogue.model)
    check_adapters(trainable, catalogue.model, catalogue.rank)
    rivals = candidacies(spec, trained)
    settings = [*_settings(trained, catalogue)] if trainable else []
    sources = [task_of(one.source) for one in trained]
    validated = {one.source.key: _MatrixTask(catalogue, catalogue.task(one.source), "val") for one in trained}
    cells: list[Cell] = []
    for model in (_MatrixModel(catalogue, name) for name in spec.models):
        if spec.base_rows:
            cells += [
                _eval_cell(catalogue, model, None, task, seed) for task in targets for seed in spec.seeds
            ]
        cells += [
            _identify_cell(catalogue, model, variant, task, spec.seeds[0])
            for task in benchmarks
            for variant in variants(spec.identifiers)
        ]
        for place, setting in enumerate(settings if model.name in trainable else ()):
            source, rival = sources[place], rivals[place]
            for seed in spec.seeds:
                cell = replace(_train_cell(catalogue, model, setting, source, seed), candidacy=rival)
                found: list[Cell] = []
                if rival is None or cell.identity in chosen:
                    evaluated = (task for task in reached[place] if owner_of(task.named.spec).cells == "eval")
                    found = [_eval_cell(catalogue, model, cell, task, seed) for task in evaluated]
                if rival is not None and spec.select is not None:
                    scored = source if spec.select.on == "test" else validated[trained[place].source.key]
                    first = replace(_eval_cell(catalogue, model, cell, scored, seed), candidacy=rival)
                    found = [first, *(one for one in found if one.identity != first.identity)]
                cells += [cell, *found]
    _check_distinct(cells)
    return cells


def _check_distinct(cells: list[Cell]) -> None:
    seen: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        other = seen.setdefault((cell.kind, cell.identity), cell)
        if other is not cell:
            raise PerbenchError(f"the matrix names the same work twice: [{other}] and [{cell}]; remove one")


# ------------------------------------------------------------ what cells share


class _MatrixModel:
    """A model of the matrix, with what its cells share."""

    def __init__(self, catalogue: Catalogue, name: str) -> None:
        self.name, self.named = name, catalogue.model(name)
        self.label, self.inputs = catalogue.label(name), Shared(catalogue.model_inputs(name))

    @cached_property
    def engine(self) -> str | Inputs:
        return engine_inputs(self.named)

    @cached_property
    def computed(self) -> Inputs:
        return computed(self.named)


class _MatrixTask:
    """A task of the matrix, with what its cells share: found once, and only if there are such cells."""

    def __init__(self, catalogue: Catalogue, task: LabelledTask, split: Split = "test") -> None:
        self._catalogue, self.label, self.named = catalogue, task.label, task.named
        self._split = split
        if split == "val":
            self.label = validation_label(task.label)

    @cached_property
    def train(self) -> Dataset:
        return self._catalogue.dataset(self.named, "train")

    @cached_property
    def test(self) -> Dataset:
        """What it is evaluated on."""
        return self._catalogue.dataset(self.named, self._split)

    @cached_property
    def dev(self) -> Dataset | None:
        return self._catalogue.dev(self.named)

    @cached_property
    def as_source(self) -> Inputs:
        return Shared(source_inputs(self.named.name, self.named.spec, self._helpers))

    @cached_property
    def as_target(self) -> Inputs:
        return Shared(target_inputs(self.named.name, self.named.spec, self._helpers))

    @property
    def _helpers(self) -> dict[str, Inputs]:
        names = sorted(helpers_of(self.named.spec))
        return {name: self._catalogue.helper_inputs(name) for name in names}


@dataclass(frozen=True)
class _Setting:
    """A trainer and a training with one value for each hyperparameter, and what its cells share."""

    name: str
    trainer: Trainer
    training: TrainingSpec
    varied: dict[str, Any]
    params: dict[str, Any]
    """Those that the matrix names, for labels."""
    inputs: Inputs
    training_inputs: Inputs
    by_source: frozenset[str]


def _settings(trained: Sequence[Training], catalogue: Catalogue) -> Iterator[_Setting]:
    """Of each training; those that differ only in their sources share one."""
    found: dict[str, _Setting] = {}
    for one in trained:
        variant, varied = one.trainer, dict(one.varied)
        own = dict(variant.params), dict(variant.training), one.spec, varied
        key = repr((variant.name, *own, sorted(one.by_source)))
        if key not in found:
            trainer: Trainer = plugins.load_trainer(variant.name, variant.params)
            digest = plugins.get("trainer", variant.name).digest()
            wanted = trainer.reference()
            reference = None if wanted in (None, "initial") else (wanted, catalogue.model_inputs(wanted))
            inputs = Shared(plugin_inputs(variant.name, digest, trainer.params, reference))
            check_settings(trainer, one.spec)
            params = {
                key: catalogue.label(value) if reference is not None and value == wanted else value
                for key, value in variant.shown(varied).items()
            }
            shared = Shared(one.spec.inputs)
            found[key] = _Setting(
                variant.name, trainer, one.spec, varied, params, inputs, shared, one.by_source
            )
        yield found[key]


# ------------------------------------------------------------ cells of each kind


def _train_cell(
    catalogue: Catalogue, model: _MatrixModel, one: _Setting, source: _MatrixTask, seed: int
) -> Cell:
    named, data = source.named, source.train
    own = catalogue.own_data(named, one.training)
    inputs = train_inputs(
        model=model.inputs,
        trainer=one.inputs,
        source=source.as_source,
        data=data.digest,
        training=one.training_inputs,
        seed=seed,
        own_data=own.digest if own is not None else None,
    )
    labels = Labels(
        model=model.label,
        model_label=model.named.spec.label,
        trainer=one.name,
        trainer_params=one.params,
        training=one.varied,
        source=source.label,
        seed=seed,
    )
    trainer = deepcopy(one.trainer)  # it may keep a state
    return Cell(
        "train",
        labels,
        inputs,
        model.named,
        named,
        data,
        seed,
        trainer=trainer,
        training=one.training,
        by_source=one.by_source,
    )


def _eval_cell(
    catalogue: Catalogue, model: _MatrixModel, trained: Cell | None, target: _MatrixTask, seed: int
) -> Cell:
    data = target.test
    inputs = eval_inputs(
        model=model.inputs,
        train=trained.identity if trained is not None else None,
        target=target.as_target,
        data=data.digest,
        engine=model.engine,
        computed=model.computed,
        seed=seed,
    )
    if trained is not None:
        labels = trained.labels.model_copy(update={"target": target.label})
    else:
        labels = Labels(model=model.label, model_label=model.named.spec.label, target=target.label, seed=seed)
    overlap = catalogue.overlap(trained.data if trained is not None else None, data)
    return Cell("eval", labels, inputs, model.named, target.named, data, seed, needs=trained, overlap=overlap)


def _identify_cell(
    catalogue: Catalogue, model: _MatrixModel, variant: Variant, target: _MatrixTask, seed: int
) -> Cell:
    named = model.named
    identifier: Identifier = plugins.load_identifier(variant.name, variant.params)
    check_identifier(variant.name, identifier, named)
    data, dev = target.test, target.dev
    inputs = identify_inputs(
        model=model.inputs,
        identifier=plugin_inputs(
            variant.name, plugins.get("identifier", variant.name).digest(), identifier.params
        ),
        target=target.as_target,
        data=data.digest,
        dev=dev.digest if dev is not None else None,
        engine=model.engine,
        computed=model.computed if identifier.needs_model else {},
    )
    labels = Labels(
        model=model.label,
        model_label=named.spec.label,
        target=target.label,
        identifier=variant.name,
        identifier_params=dict(variant.params),
        seed=seed,
    )
    return Cell(
        "identify",
        labels,
        inputs,
        named,
        target.named,
        data,
        seed,
        identifier=identifier,
        dev=dev,
        overlap=catalogue.overlap(dev, data),
    )
