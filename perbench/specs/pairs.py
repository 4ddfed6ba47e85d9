"""Trainers of pairs, on sources that hold none."""

from __future__ import annotations

from collections.abc import Iterator

from perbench import plugins
from perbench.contracts.trainer import Trainer
from perbench.errors import Problem
from perbench.specs.expand import Training, trainings
from perbench.specs.load import load_task
from perbench.specs.matrix import MatrixSpec
from perbench.specs.yaml import Document, Place


def pair_problems(spec: MatrixSpec, document: Document) -> Iterator[Problem]:
    """Trainings of a matrix without other faults whose examples lack the rejected answers that their trainer
    needs."""
    found = {
        (one.trainer.name, one.source.key, one.spec.per_user is not None): one for one in trainings(spec)
    }
    for one in found.values():
        if _class(one).examples != "pairs":
            continue
        place, name = _place(spec, one, document), one.trainer.name
        own = one.spec.per_user
        if own is not None and own.data != "examples":
            yield place.problem(
                f"{name} learns from pairs of answers, and per_user.data {own.data} makes examples of "
                "history items, which are single answers; set training.per_user.data: examples"
            )
        shared = spec.tasks.get(one.source.task, {})
        task = load_task(one.source.task, overrides={**shared, **one.source.overrides})
        if task.spec.fields.rejected is None:
            yield place.problem(
                f"{name} learns from pairs of answers, and the rows of source {one.source.label()} hold no "
                f"rejected ones; name their field by fields.rejected, or give {name} other `sources`"
            )


def _class(one: Training) -> type[Trainer]:
    found: type[Trainer] = plugins.get("trainer", one.trainer.name).load_class()
    return found


def _place(spec: MatrixSpec, one: Training, document: Document) -> Place:
    names = [row if isinstance(row, str) else row.name for row in spec.trainers]
    return document.place(("trainers", names.index(one.trainer.name)))
