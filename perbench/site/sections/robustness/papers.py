"""Numbers that papers report under varied hyperparameters, to be drawn beside those measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perbench.contracts.results import TargetColumn
from perbench.shapes.reported import number
from perbench.specs.load import all_reported
from perbench.specs.rows import task_of

from .varied import Whose


@dataclass(frozen=True)
class Paper:
    """A number of a trainer on the task it was trained on; `varied` are the hyperparameters in order."""

    label: str
    model: str
    trainer: str
    tasks: tuple[str, ...]
    metric: str
    varied: tuple[tuple[str, float], ...]
    value: float
    printed: str


def papers() -> list[Paper]:
    return [
        Paper(
            table.spec.label,
            row.model,
            row.trainer or "",
            tuple(column.tasks),
            column.measured,
            tuple(sorted(row.varied.items())),
            value,
            printed,
        )
        for table in all_reported()
        for row in table.spec.rows
        if row.varied and row.trained_on == "own"
        for column, printed in zip(table.spec.columns, row.printed, strict=True)
        if column.measured is not None and column.turn is None and (value := number(printed)) is not None
    ]


def beside(
    known: Sequence[Paper], whose: Whose, column: TargetColumn, keys: Sequence[str]
) -> dict[tuple[float, ...], Paper]:
    """By the values of `keys`: what is reported of the same trainer, model, task and metric, if nothing but
    these was varied."""
    task, name = task_of(column.target), whose.model.rpartition("/")[2].casefold()
    if not whose.source or task_of(whose.source) != task:
        return {}
    return {
        tuple(values[key] for key in keys): one
        for one in known
        if (one.trainer, one.metric, one.model.casefold()) == (whose.trainer, column.headline, name)
        and task in one.tasks
        and set(values := dict(one.varied)) == set(keys)
    }
