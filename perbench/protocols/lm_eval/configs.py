"""Reads lm-eval's task files as lm-eval does, but without importing the functions that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from perbench.errors import PerbenchError, suggest

Config = dict[str, Any]
OF_GROUPS = ("group", "group_alias", "task", "aggregate_metric_list", "metadata")
"""Keys of a group; its others are changes to its tasks."""
STRUCTURE = ("tag", "group", "task_list", "include")
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Function:
    """`!function NAME` in a file of `folder`."""

    name: str
    folder: Path

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def read(path: Path, seen: frozenset[Path] = frozenset()) -> Config:
    """A task file with all that it includes.

    Raises:
        PerbenchError: it includes itself, or does not load.
    """
    path = path.expanduser().resolve()
    if path in seen:
        raise PerbenchError(f"{path}: includes itself")
    try:
        found = yaml.load(path.read_text("utf-8"), Loader=_loader(path.parent))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PerbenchError(f"{path}: does not load: {error}") from error
    if not isinstance(found, dict):
        raise PerbenchError(f"{path}: not a mapping")
    included = found.pop("include", None) or []
    merged: Config = {}
    for name in included if isinstance(included, list) else [included]:
        merged.update(read(path.parent / name, seen | {path}))
        merged.pop("task_list", None)
    return {**merged, **found}


def _loader(folder: Path) -> Any:
    class Loader(_Base):  # type: ignore[misc]
        pass

    Loader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node), folder))
    return Loader


def expand(
    index: Mapping[str, Any], name: str, changes: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Config]:
    """The configurations of a task, or of all tasks of a group or tag, with its changes.

    Args:
        index: `TaskManager.task_index`.

    Raises:
        PerbenchError: no such task; a task written in Python; a file does not load.
    """
    entry = index.get(name)
    if entry is None:
        raise PerbenchError(f"lm-eval has no task {name!r}.{suggest(name, list(index))}")
    kind = entry.kind.name
    if kind == "TAG":
        for child in sorted(entry.tags):
            yield from expand(index, child, changes) if child in index else ()
        return
    config = read(Path(entry.yaml_path))
    if kind == "GROUP" and "class" not in config:
        yield from _group(index, name, config, changes)
        return
    found = {**config, **changes}
    if "class" in found:
        raise PerbenchError(
            f"lm-eval's task {name!r} is written in Python ({_named(found['class'])}); only tasks in YAML "
            "can be targets, because what its code reads is unknown"
        )
    yield found


def _named(value: Any) -> str:
    return value.name if isinstance(value, Function) else str(value)


def _group(
    index: Mapping[str, Any], name: str, config: Config, changes: Mapping[str, Any]
) -> Iterator[Config]:
    """As `lm_eval.tasks._factory.TaskFactory._build_group`."""
    own = {key: value for key, value in config.items() if key not in (*OF_GROUPS, *STRUCTURE)}
    changes = {**own, **changes}
    members = config.get("task")
    for item in members if isinstance(members, list) else ():
        given = {"task": item} if isinstance(item, str) else dict(item)
        inner = given.pop("group", None)
        if inner is not None and inner not in index:
            yield from _group(index, f"{name}::{inner}", given, changes)
            continue
        base = str(inner or given.pop("task", ""))
        if base in index:
            yield from expand(index, base, {**changes, **given})
        else:  # a task that stands in the group itself
            yield {**changes, **given, "task": f"{name}::{base}"}


def refuse(configs: Sequence[Config]) -> None:
    """
    Raises:
        PerbenchError: a task runs what models write, or shows them pictures or sounds.
    """
    for config in configs:
        if config.get("unsafe_code"):
            raise PerbenchError(
                f"lm-eval's task {config['task']!r} runs code that models write (unsafe_code), which "
                "perbench does not; leave it out"
            )
        if media := [key for key in ("doc_to_image", "doc_to_audio") if config.get(key)]:
            raise PerbenchError(
                f"lm-eval's task {config['task']!r} shows models more than text ({media[0]}); leave it out"
            )
