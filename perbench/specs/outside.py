"""Files and programs that a matrix names, which only the user may choose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perbench.specs.matrix import MatrixSpec
from perbench.specs.rows import TaskRow, moved_rows


def outside(spec: MatrixSpec) -> Iterator[tuple[str, str]]:
    """The files and programs that a matrix names: by which key, and the value."""
    trainers = [row for row in spec.trainers if not isinstance(row, str)]
    named = (*spec.sources, *spec.targets, *(one for row in trainers for one in row.targets or ()))
    rows = [row for row in named if isinstance(row, TaskRow)]
    for task, given in [*spec.tasks.items(), *((row.task, row.overrides) for row in rows)]:
        for key, value in moved_rows(given).items():
            yield f"tasks.{task}.{key}", str(value)
    for key, inner in spec.model_dump(mode="json", by_alias=True, exclude={"summary"}).items():
        for text in _texts(inner):
            if text.endswith((".yaml", ".yml")):
                yield key, text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts(inner)
