"""What a matrix used: every plugin, by kind and name, its tasks and its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.licence import withheld_texts
from perbench.plugins import Plugin
from perbench.shapes.base import Named
from perbench.shapes.fields import RUBRIC, marked_keys
from perbench.shapes.model import ModelSpec
from perbench.shapes.task import TaskSpec
from perbench.specs import yaml
from perbench.specs.compose import (
    engine_name,
    family_in,
    helpers_of,
    owners,
    source_of,
    task_spec,
)
from perbench.specs.expand import every_task, trainings, variants
from perbench.specs.load import load_model
from perbench.specs.matrices import matrix_of
from perbench.specs.matrix import MatrixSpec
from perbench.specs.rows import TaskVariant
from perbench.specs.yaml import Document, Place


@dataclass
class Used:
    """`plugins` by kind and name; `tasks` by their label in tables; `models` by the name that was given. Of a
    task or a model that was given by its file, the plugin has that file, and `given` maps the path as given
    to the plugin's name."""

    plugins: dict[tuple[str, str], Plugin] = field(default_factory=dict)
    tasks: dict[str, UsedTask] = field(default_factory=dict)
    models: dict[str, Named[ModelSpec]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UsedTask:
    """A task of a matrix; `withheld`: why its texts must not be shared, or None."""

    named: Named[TaskSpec]
    withheld: str | None


def used(matrices: Mapping[str, Mapping[str, Any]]) -> Used:
    """What the matrices of a run.json use today.

    Raises:
        SpecError: everything that they name and that is not found.
        PerbenchError: two files with one name.
    """
    found = Used()
    for name, values in matrices.items():
        document = Document(dict(values), {(): Place(f"matrix {name} of run.json")})
        spec = matrix_of(name, None, document).spec
        catalogue = Catalogue(spec, {}, None, draft=True)
        for variant in every_task(spec):
            labelled = catalogue.task(variant)
            _task(found, labelled.label, labelled.named, variant, spec)
        for trained in trainings(spec):
            _named(found, "trainer", trained.trainer.name)
        for identifier in variants(spec.identifiers):
            _named(found, "identifier", identifier.name)
        for model in [*spec.models, *_references(spec)]:
            _model(found, model, spec.serving if model in spec.models else {})
    return found


def _named(found: Used, kind: str, name: str) -> None:
    found.plugins[kind, name] = plugins.get(kind, name)


def _file(found: Used, kind: str, given: str, named: Named[Any]) -> None:
    """A task or model, by its name or by its file."""
    if named.path is None:
        return
    plugin = Plugin(kind, named.name, named.path.resolve())
    other = found.plugins.setdefault((kind, named.name), plugin)
    if other.path != plugin.path:
        raise PerbenchError(f"two files are used as {kind} {named.name!r}: {other.path} and {plugin.path}")
    if given != named.name:
        found.given[given] = named.name


def _model(found: Used, name: str, serving: Mapping[str, Any] = {}) -> None:
    if name not in found.models:
        found.models[name] = load_model(name)
        _file(found, "model", name, found.models[name])
    _named(found, "engine", engine_name(load_model(name, serving).spec))


def _references(spec: MatrixSpec) -> Iterator[str]:
    """The frozen models that trainers compare with."""
    for one in trainings(spec):
        name = plugins.load_trainer(one.trainer.name, one.trainer.params).reference()
        if name not in (None, "initial"):
            yield name


def _task(found: Used, label: str, named: Named[TaskSpec], variant: TaskVariant, spec: MatrixSpec) -> None:
    task, overrides = named.spec, {**spec.tasks.get(variant.task, {}), **variant.overrides}
    source = source_of(task.data)
    elsewhere = any(key.partition(".")[0] == "data" for key in overrides)
    found.tasks[label] = UsedTask(named, withheld_texts(task, elsewhere=elsewhere))
    _file(found, "task", variant.task, named)
    parts = {
        "protocol": [task.protocol],
        "metric": task.metrics,
        "decoding": [task.decoding.method],
        "ranking": [task.persona.retrieve],
        "summariser": [task.persona.summarise] if task.persona.summarise != "none" else [],
        "source": [name for name, cls in owners("source").items() if cls is type(source)],
        "family": [family] if (family := family_in(task.data)) is not None else [],
        "rubric": list(_rubrics(named.path, overrides)),
    }
    for kind, names in parts.items():
        for name in names:
            _named(found, kind, name)
    for name in sorted(helpers_of(task)):
        _model(found, name)


def _rubrics(path: Path | None, overrides: Mapping[str, Any]) -> Iterator[str]:
    """The rubrics that a task or its matrix names; the spec holds their content."""
    written = yaml.read(path).data if path is not None else {}
    for keys in marked_keys(task_spec(), RUBRIC):
        value = overrides.get(".".join(keys), yaml.at(written, keys))
        if isinstance(value, str):
            yield value
