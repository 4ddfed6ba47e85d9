"""The lists of a matrix's document, whatever faults it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perbench.specs.matrix import listed_own
from perbench.specs.rows import OWN, TaskRow, TaskVariant, task_variants
from perbench.specs.yaml import Document, KeyPath


def items(document: Document, key: str) -> list[Any]:
    value = listed_own(document.data.get(key))
    return value if isinstance(value, list) else []


def strings(document: Document, key: str) -> Iterator[tuple[int, str]]:
    return ((index, item) for index, item in enumerate(items(document, key)) if isinstance(item, str))


def task_rows(document: Document, axis: str) -> Iterator[tuple[KeyPath, KeyPath, str, dict[str, Any]]]:
    """Sources or targets, those of trainers' rows included: where each row stands, where it names its task,
    the task (for OWN, every source's), and the row's overrides by dotted path."""
    held = [((axis, place), row) for place, row in enumerate(items(document, axis))]
    rows: list[tuple[KeyPath, Any]] = [*held]
    for number, trainer in enumerate(items(document, "trainers") if axis == "targets" else ()):
        own = listed_own(trainer.get("targets")) if isinstance(trainer, dict) else None
        for index, row in enumerate(own if isinstance(own, list) else ()):
            rows.append((("trainers", number, "targets", index), row))
    for where, row in rows:
        if isinstance(row, str):
            place, name, changes = where, row, {}
        elif isinstance(row, dict) and isinstance(row.get("task"), str):
            place, name = (*where, "task"), row["task"]
            changes = {key: value for key, value in row.items() if key not in ("task", "as")}
        else:
            continue
        if axis == "targets" and name == OWN:
            for source in dict.fromkeys(name for *_, name, _ in task_rows(document, "sources")):
                yield where, place, source, changes
        else:
            yield where, place, name, changes


def task_names(document: Document) -> list[str]:
    return [name for axis in ("sources", "targets") for *_, name, _ in task_rows(document, axis)]


def sources_in(document: Document) -> list[TaskVariant]:
    """The sources; of rows with faults, their tasks."""
    rows = items(document, "sources")
    try:
        return task_variants([row if isinstance(row, str) else TaskRow.model_validate(row) for row in rows])
    except (ValueError, TypeError):
        return [TaskVariant(name) for *_, name, _ in task_rows(document, "sources")]


def names_of_sources(document: Document) -> frozenset[str]:
    """`perbench.specs.expand.source_names` of a matrix that may have faults."""
    return frozenset(name for one in sources_in(document) for name in (one.task, one.label()))
