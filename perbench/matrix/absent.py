"""Packages, addresses and keys that a matrix needs but this machine lacks, reported before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from perbench import plugins
from perbench.persona import retrieve
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import engine_of, helpers_of
from perbench.specs.expand import every_task, trainings
from perbench.specs.load import load_model, load_task
from perbench.specs.matrix import MatrixSpec


def absent(tasks: Iterable[TaskSpec], models: Iterable[Named[ModelSpec]]) -> list[str]:
    """What tasks and models lack on this machine: distinct messages, with what to do."""
    lines = [line for task in tasks for line in retrieve.absent(task.persona)]
    for model in {model.name: model for model in models}.values():
        lines += engine_of(model).absent()
    return list(dict.fromkeys(lines))


def absent_for(spec: MatrixSpec) -> list[str]:
    """What a whole matrix lacks: its models, its tasks, and the models that these and its trainers name."""
    names, tasks = dict.fromkeys(spec.models), []
    for row in every_task(spec):
        task = load_task(row.task, shared=spec.tasks.get(row.task, {}), overrides=row.overrides).spec
        names |= dict.fromkeys(sorted(helpers_of(task)))
        tasks.append(task)
    trainers = (one.trainer for one in trainings(spec))
    references = (plugins.load_trainer(one.name, one.params).reference() for one in trainers)
    names |= dict.fromkeys(name for name in references if name not in (None, "initial"))
    serving = dict.fromkeys(spec.models, spec.serving)
    return absent(tasks, [load_model(name, serving.get(name, {})) for name in names])
