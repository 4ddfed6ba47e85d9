"""The tasks of a matrix: by name, or with changes to the task's own spec."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from pydantic import ConfigDict, Field

from perbench.shapes.base import Strict
from perbench.specs.compose import data_spec, sources, task_spec
from perbench.specs.faults import holds_list
from perbench.specs.grid import grid, leaves

OWN = "own"
"""As a target: the task that a model was trained on."""

VALIDATION = "validation"
"""In the name of a task in tables: its validation split."""


class TaskRow(Strict):
    """`task` with other values for keys of its spec, as mappings or by dotted path; a list is an axis unless
    the key itself takes a list. `as` is the row's name in tables, instead of the changes."""

    model_config = ConfigDict(extra="allow")

    task: str
    label: str | None = Field(None, alias="as", min_length=1)

    @property
    def overrides(self) -> dict[str, Any]:
        """Values by dotted key path."""
        return {".".join(path): value for path, value in leaves(self.model_extra or {}).items()}


@dataclass(frozen=True)
class TaskVariant:
    """A task in a matrix. `overrides`: values by dotted key path; `tag`: its changes to the task
    ("prompt=official"), may be empty."""

    task: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    tag: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the same task under the same name."""
        return self.label(), json.dumps(dict(self.overrides), sort_keys=True, default=str)

    def label(self, name: str | None = None) -> str:
        """ "longlamp/pag (prompt=official)"; `name` is the task's if it is given by its file."""
        return f"{name or self.task} ({self.tag})" if self.tag else name or self.task


def own_variant(source: TaskVariant, target: TaskVariant) -> TaskVariant:
    """A target of a model trained on `source`: OWN is replaced by it, with the changes of both."""
    if target.task != OWN:
        return target
    tag = ", ".join(filter(None, (source.tag, target.tag)))
    return TaskVariant(source.task, {**source.overrides, **target.overrides}, tag)


def task_variants(rows: Sequence[str | TaskRow]) -> list[TaskVariant]:
    """Every row with every combination of its lists, in order."""
    return [variant for row in rows for variant in _variants(row)]


def own_targets(matrix: Mapping[str, Any]) -> bool:
    """Whether some models of a resolved matrix in JSON, which may be a stranger's, have targets of their
    own."""
    trainers, targets = (
        held if isinstance(held := matrix.get(key), list) else [] for key in ("trainers", "targets")
    )
    tasks = [row.get("task") if isinstance(row, Mapping) else row for row in targets]
    return OWN in tasks or any(isinstance(row, Mapping) and bool(row.get("targets")) for row in trainers)


def targets_in(matrix: Mapping[str, Any]) -> list[TaskVariant]:
    """All targets of a resolved matrix in JSON, those of trainers' rows and OWN included."""
    trainers = [row for row in matrix.get("trainers", ()) if isinstance(row, Mapping)]
    given = [matrix["targets"], *(row.get("targets") for row in trainers)]
    targets = [variant for rows in given for variant in task_variants(_read(rows or ()))]
    sources = task_variants(_read(matrix.get("sources", ())))
    return [
        own_variant(source, target)
        for target in targets
        for source in (sources if target.task == OWN else [target])
    ]


def _read(rows: Sequence[Any]) -> list[str | TaskRow]:
    return [row if isinstance(row, str) else TaskRow.model_validate(row) for row in rows]


def _variants(row: str | TaskRow) -> list[TaskVariant]:
    if isinstance(row, str):
        return [TaskVariant(row)]
    overrides = row.overrides
    axes = {key: value for key, value in overrides.items() if is_axis(key, value)}
    shown = [key for key in overrides if row.label is None or (key in axes and len(axes[key]) > 1)]
    return [
        TaskVariant(
            row.task,
            point,
            ", ".join([*([row.label] if row.label else []), *(_change(key, point[key]) for key in shown)]),
        )
        for point in ({**overrides, **chosen} for chosen in grid(axes))
    ]


def is_axis(key: str, value: Any) -> bool:
    """Whether a value at a dotted path of a task row expands to several rows."""
    return isinstance(value, list) and not holds_list(task_spec(), key)


def moved_rows(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a task's overrides that say where its rows come from, which may be a program: by dotted path
    ("data.python")."""
    keys = {f"data.{cls.key}" for cls in sources(data_spec())}
    found = {".".join((key, *path)): value for key, one in overrides.items() for path, value in _inner(one)}
    return {key: value for key, value in found.items() if key in keys}


def _inner(value: Any) -> list[tuple[tuple[str, ...], Any]]:
    return [*leaves(value).items()] if isinstance(value, Mapping) else [((), value)]


def validation_label(label: str) -> str:
    """The name in tables of a task's validation split: "longlamp/pag (validation)"."""
    task, bracket, tag = label.partition(" (")
    return f"{task} ({tag.removesuffix(')')}, {VALIDATION})" if bracket else f"{label} ({VALIDATION})"


def task_of(label: str) -> str:
    """The task of a label, without a row's changes."""
    return label.partition(" (")[0]


def plain_name(name: str) -> str:
    """The name in records: the last part of a path, since paths stay on their machine."""
    is_path = name.startswith(("/", ".", "~")) or name.endswith((".yaml", ".yml"))
    return PurePath(name).name.removesuffix(".yaml").removesuffix(".yml") if is_path else name


def _change(key: str, value: Any) -> str:
    """ "prompt=official"; a protocol goes by its name."""
    return _text(value) if key == "protocol" else f"{key}={_text(value)}"


def _text(value: Any) -> str:
    return plain_name(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
