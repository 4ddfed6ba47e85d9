"""Finds lm-eval tasks by name, describes them without loading their data, and digests their configurations.

Folders `lm_eval/` of plugin roots are searched first, then lm-eval's own tasks.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from perbench.contracts.base import folders
from perbench.disk.digests import canonical_digest, read_sha256
from perbench.errors import PerbenchError, suggest

PREFIX = "lm_eval:"
"""Prefix of a target's name: "lm_eval:drop"."""
INSTALL = "pip install 'perbench[lm-eval]'"
DEFAULTS = {"multiple_choice": "acc", "loglikelihood": "acc", "generate_until": "exact_match"}
"""Headline of a task without a metric list, by output type."""


def lm_eval_version() -> str:
    """
    Raises:
        PerbenchError: lm-eval is not installed.
    """
    try:
        return version("lm_eval")
    except PackageNotFoundError:
        raise PerbenchError(f"targets {PREFIX}TASK need the package lm_eval; run: {INSTALL}") from None


def manager(name: str) -> Any:
    """The `lm_eval.tasks.TaskManager` that knows task `name`.

    Raises:
        PerbenchError: no such task, or lm-eval is not installed.
    """
    lm_eval_version()
    places = tuple(map(str, folders("lm_eval")))
    own = _manager(places, own=False) if places else None
    if own is not None and name in own.task_index:
        return own
    found = _manager(places, own=True)
    if name not in found.task_index:
        message = f"lm-eval has no task {name!r}.{suggest(name, found.all_tasks)}"
        raise PerbenchError(f"{message} `lm-eval ls tasks` lists them all.")
    return found


@lru_cache(maxsize=4)
def _manager(folders: tuple[str, ...], *, own: bool) -> Any:
    # Indexing lm-eval's own tasks takes seconds, so roots are searched first.
    tasks: Any = importlib.import_module("lm_eval.tasks")
    return tasks.TaskManager(include_path=list(folders), include_defaults=own)


def leaves(name: str) -> list[dict[str, Any]]:
    """The configurations of a task, or of all tasks of a group or tag, as lm-eval reads them from YAML; paths
    are replaced by digests of the files.

    Raises:
        PerbenchError: as `manager`; also for a task written in Python, which has no configuration.
    """
    return list(_leaves(manager(name).task_index, name))


def _leaves(index: Any, name: str) -> Iterator[dict[str, Any]]:
    entry = index.get(name)
    if entry is None:
        raise PerbenchError(f"lm-eval has no task {name!r}.{suggest(name, list(index))}")
    if entry.kind.name == "TASK":
        yield _portable(entry.cfg, Path(entry.yaml_path).parent)
        return
    children = sorted(entry.tags) if entry.kind.name == "TAG" else (entry.cfg or {}).get("task")
    if entry.kind.name == "PY_TASK" or not isinstance(children, list):
        raise PerbenchError(
            f"lm-eval's task {name!r} is written in Python; only tasks in YAML can be targets"
        )
    for child in children:
        if isinstance(child, str):
            yield from _leaves(index, child)
        else:  # a task's name with changes to its configuration
            for leaf in _leaves(index, child.get("task") or child.get("group") or ""):
                yield {**leaf, **_portable(child, Path(entry.yaml_path).parent)}


def _portable(value: Any, folder: Path) -> Any:
    """`value` with functions and files identified by their file's digest instead of its path."""
    if isinstance(value, dict):
        return {str(key): _portable(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_portable(inner, folder) for inner in value]
    if not isinstance(value, str) or "\n" in value:
        return value
    if value.startswith(f"{folder}/"):  # `!function utils.clean`
        module, _, function = value.rpartition(".")
        if Path(f"{module}.py").is_file():
            return f"{function} of {read_sha256(Path(f'{module}.py'))}"
    if len(value) < 4096 and "/" in value and Path(value).is_file():
        return read_sha256(Path(value))
    return value


def headline(name: str) -> str:
    """The first metric of the task, with the name of its filter unless that is "none".

    Raises:
        PerbenchError: as `leaves`; also for a task that names no metric.
    """
    config = leaves(name)[0]
    named = config.get("metric_list") or [{"metric": DEFAULTS.get(config.get("output_type", ""), "")}]
    metric = str(named[0]["metric"]).partition(" of ")[0]
    if not metric:
        raise PerbenchError(f"lm-eval's task {name!r} names no metric, so it has no headline")
    filters = config.get("filter_list")
    return metric_name(metric, filters[0]["name"] if filters else "none")


def lower_is_better(name: str, metric: str) -> bool:
    """Whether the task, or one of its group, declares a metric, filter or not, as lower is better.

    Raises:
        PerbenchError: as `leaves`.
    """
    named = (entry for leaf in leaves(name) for entry in leaf.get("metric_list") or ())
    return any(
        str(entry["metric"]).partition(" of ")[0] == metric.partition(",")[0]
        and entry.get("higher_is_better") is False
        for entry in named
    )


def metric_name(metric: str, filtered: str) -> str:
    return metric if filtered == "none" else f"{metric},{filtered}"


def spec_values(name: str) -> dict[str, Any]:
    """The equivalent YAML file of target `lm_eval:NAME`.

    Raises:
        PerbenchError: as `headline`.
    """
    return {
        "summary": f"{name} of lm-evaluation-harness",
        "protocol": "lm_eval",
        "license": "See the task in lm-evaluation-harness",
        "data": {"lm_eval": name},
        "examples": {"test": None},
        "headline": headline(name),
    }


def describe(name: str, limit: int | None) -> tuple[str, dict[str, Any]]:
    """(digest, description) of a task's documents by its configurations, without loading them. `limit` keeps
    each task's first documents."""
    described = {"lm_eval": name, "version": lm_eval_version(), "limit": limit}
    return canonical_digest({**described, "tasks": leaves(name)}), described
