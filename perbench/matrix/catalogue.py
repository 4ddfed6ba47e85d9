"""The tasks, data and models that a matrix names, each loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perbench import data as data_sources
from perbench.contracts.data import Dataset
from perbench.data.examples import needed_fields
from perbench.data.overlap import Overlap, Seen
from perbench.data.own import OwnData, own_data
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError, SpecError
from perbench.lm import models
from perbench.lm.native import USUAL, native
from perbench.matrix.identity import COMPUTED, PROMPTS, Inputs
from perbench.matrix.unresolved import Unresolved
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.task import Split, TaskSpec
from perbench.specs.compose import engine_of, family_in, metric_keys, owner_of, served_by, source_of
from perbench.specs.expand import every_task, trainings
from perbench.specs.load import family_of, load_model, load_task
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.specs.rows import TaskVariant

UNRESOLVED = "unresolved"
"""Replaces the identity of a model or of data that are unavailable to a draft."""


def model_inputs(model: Named[ModelSpec]) -> Inputs:
    """What identifies a model: its weights by content, their dtype, and, unless a server does it, how prompts
    are built."""
    engine = engine_of(model)
    prompts = {"prompts": PROMPTS} if "tokens" in engine.offers else {}
    return {**engine.identify(), "dtype": model.spec.dtype, **prompts}


def helper_inputs(model: Named[ModelSpec]) -> Inputs:
    """What identifies a model besides the one under evaluation, including its engine."""
    return {**model_inputs(model), **served_by(model), **computed(model)}


def computed(model: Named[ModelSpec]) -> Inputs:
    """The dtype that a model of `dtype: auto` computes in on this machine, unless it is the usual one."""
    if model.spec.dtype != "auto" or not engine_of(model).weights or native() == USUAL:
        return {}
    return {COMPUTED: native()}


def _weights_digest(inputs: Inputs) -> str:
    """`perbench.lm.models.ResolvedModel.digest` of a model with these `model_inputs`."""
    return canonical_digest({key: inputs[key] for key in inputs.keys() - {"dtype", "prompts"}})


@dataclass(frozen=True)
class LabelledTask:
    """A task as in the matrix, and its name in tables."""

    label: str
    named: Named[TaskSpec]


class Catalogue:
    """The tasks, data and models of a matrix, each loaded once. `limit` caps the examples of every split.

    A `draft` is for plans only: unavailable models and data are left empty and listed in `unresolved`.
    """

    def __init__(
        self, spec: MatrixSpec, data: Mapping[str, Path], limit: int | None, *, draft: bool = False
    ) -> None:
        self.unresolved = Unresolved()
        self._draft = draft
        self._spec = spec
        self._data = data
        self._limit = limit
        self._tasks: dict[str, LabelledTask] = {}
        self._datasets: dict[str, Dataset] = {}
        self._seen: dict[str, Seen] = {}
        self._overlaps: dict[tuple[str, str, str], Overlap] = {}
        self._own: dict[tuple[object, ...], OwnData] = {}
        self._models: dict[str, tuple[Named[ModelSpec], Inputs]] = {}

    def task(self, variant: TaskVariant) -> LabelledTask:
        """A source or target."""
        key = canonical_digest([variant.task, dict(variant.overrides), variant.tag])
        if key not in self._tasks:
            self._tasks[key] = self._task(variant)
        return self._tasks[key]

    def _task(self, variant: TaskVariant) -> LabelledTask:
        shared = self._spec.tasks.get(variant.task, {})
        named = load_task(variant.task, data=self._data, shared=shared, overrides=variant.overrides)
        file = shared.get("data.files") if owner_of(named.spec).cells == "identify" else None
        label = variant.label(named.name)
        return LabelledTask(f"{label} ({Path(file).name})" if file else label, named)

    def dataset(self, task: Named[TaskSpec], split: Split) -> Dataset:
        """The examples of a split, loaded once for all variants of a task that read the same."""
        own = {"protocol", *type(owner_of(task.spec)).Keys.model_fields}  # it may check or supply rows
        keys = {"data", "fields", "examples", "prompt", "prompts", *own}
        needed = list(needed_fields(task.spec))  # checked while reading rows, so that no cell fails late
        measured = metric_keys(task.spec)  # so are references
        checked = [name for name in task.spec.metrics if measured[name]]
        keys = keys.union(*(measured[name] for name in checked))
        read, whose = task.spec.model_dump(mode="json", include=keys), task.spec.persona.whose
        key = canonical_digest([task.name, split, read, needed, checked, whose])
        if key not in self._datasets:
            try:
                self._datasets[key] = data_sources.load_examples(task, split, self._limit)
            except PerbenchError as error:
                if not self._draft or isinstance(error, SpecError):
                    raise
                family = family_of(task.name, family_in(task.spec.data))
                self.unresolved.data.append((family, task.name, split, error))
                part = [split] if split == "val" else []
                where = source_of(task.spec.data).keys.model_dump_json(exclude={"data_dir"})
                self._datasets[key] = Dataset([], " ".join([UNRESOLVED, *part, where]))
        return self._datasets[key]

    def own_data(self, task: Named[TaskSpec], training: TrainingSpec) -> OwnData | None:
        """The training data of users' own adapters; None if the training makes none."""
        if training.per_user is None:
            return None
        train, test = (self.dataset(task, split) for split in ("train", "test"))
        form = canonical_digest(task.spec.fields.model_dump(mode="json"))
        own, time = training.per_user, getattr(task.spec.persona, "time", None)
        key = task.name, train.digest, test.digest, form, own.data, own.history, time
        if key not in self._own:
            self._own[key] = own_data(task, train.examples, test.examples, own.data, own.history)
        return self._own[key]

    def dev(self, task: Named[TaskSpec]) -> Dataset | None:
        """The split on which an identification task's thresholds are chosen, or None."""
        return self.dataset(task, "train") if source_of(task.spec.data).has_train(task.folder) else None

    def overlap(self, learnt: Dataset | None, tested: Dataset) -> Overlap:
        """The tested examples that were seen in `learnt`, by training or the choice of thresholds."""
        learnt = learnt or Dataset([], "nothing")
        key = learnt.digest, tested.digest, tested.whose
        if key not in self._overlaps:
            seen = self._seen.setdefault(learnt.digest, Seen(learnt.examples))
            self._overlaps[key] = seen.overlap(tested.examples)
        return self._overlaps[key]

    @property
    def longest(self) -> int:
        """Tokens of the longest request with its answer that the tasks allow; some protocols bound them
        otherwise."""
        return max(self.task(variant).named.spec.max_length for variant in every_task(self._spec))

    @property
    def rank(self) -> int:
        """The largest rank of the LoRA adapters that the matrix trains, 0 for none."""
        settings = [one.spec for one in trainings(self._spec)]
        ranks = [one.lora.rank for one in settings if one.method == "lora"]
        return max([*ranks, *(one.per_user.rank for one in settings if one.per_user is not None)], default=0)

    def model(self, name: str) -> Named[ModelSpec]:
        return self._model(name)[0]

    def label(self, name: str) -> str:
        """The model's name in records: the last part of a local folder, since paths stay on their machine."""
        named = self.model(name)
        return Path(name).name if named.path is None and named.spec.path is not None else named.name

    def model_inputs(self, name: str) -> Inputs:
        return self._model(name)[1]

    def helper_inputs(self, name: str) -> Inputs:
        """`model_inputs` of a model besides the one under evaluation."""
        model = self.model(name)
        return {**self.model_inputs(name), **served_by(model), **computed(model)}

    def resolve(self, model: Named[ModelSpec]) -> models.ResolvedModel:
        """`perbench.lm.models.resolve` of a model of this catalogue.

        Raises:
            PerbenchError: also if its weights no longer match the identities of cells.
        """
        found = models.resolve(model)
        planned = [inputs for named, inputs in self._models.values() if named == model]
        if planned and _weights_digest(planned[0]) != found.digest:
            raise PerbenchError(
                f"model {model.name}: its files, or the commit of its revision, changed after the run was "
                "planned; run the same command again"
            )
        return found

    def _model(self, name: str) -> tuple[Named[ModelSpec], Inputs]:
        if name not in self._models:
            named = load_model(name, self._spec.serving if name in self._spec.models else {})
            try:
                self._models[name] = named, model_inputs(named)
            except PerbenchError as error:
                if not self._draft:
                    raise
                self.unresolved.models.append(str(error))
                self._models[name] = named, {UNRESOLVED: named.name}
        return self._models[name]
