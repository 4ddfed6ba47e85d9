"""Finds lm-eval tasks by name, describes them without loading their data, and digests their configurations.

Folders `lm_eval/` of plugin roots are searched first, then lm-eval's own tasks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from perbench.contracts.base import folders
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError, suggest

from .aggregates import LOWER, MEAN, computes
from .configs import Config, Function, expand, refuse
from .reads import portable

PREFIX = "lm_eval:"
"""Prefix of a target's name: "lm_eval:drop"."""
INSTALL = "pip install 'perbench[lm-eval]'"
DEFAULTS = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match",),
}
"""Metrics of a task without a metric list, by output type."""


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


def manager_with(name: str, metadata: Mapping[str, Any]) -> Any:
    """A new `manager` that passes `metadata` to the function that makes the documents of a task."""
    tasks: Any = importlib.import_module("lm_eval.tasks")
    known = manager(name)
    places = known.include_path
    own = _manager(tuple(places), own=False) if places else None
    defaults = own is None or name not in own.task_index
    return tasks.TaskManager(include_path=places, include_defaults=defaults, metadata=dict(metadata))


@lru_cache(maxsize=4)
def _manager(folders: tuple[str, ...], *, own: bool) -> Any:
    # Indexing lm-eval's own tasks takes seconds, so roots are searched first.
    tasks: Any = importlib.import_module("lm_eval.tasks")
    return tasks.TaskManager(include_path=list(folders), include_defaults=own)


def leaves(name: str) -> list[Config]:
    """The configurations of a task, or of all tasks of a group or tag.

    Raises:
        PerbenchError: as `manager` and `expand`.
    """
    return list(expand(manager(name).task_index, name))


@dataclass(frozen=True)
class GroupMetric:
    """A metric that a group aggregates over its tasks: of these filters (None: of all), its tasks weighted by
    their documents or equally."""

    metric: str
    filters: tuple[str, ...] | None
    by_size: bool


def group_metrics(name: str) -> list[GroupMetric]:
    """What the group itself aggregates; empty for tasks, tags and groups that do not say it.

    Raises:
        PerbenchError: as `manager`.
    """
    entry = manager(name).task_index[name]
    listed = (entry.cfg or {}).get("aggregate_metric_list") if entry.kind.name == "GROUP" else None
    found = []
    for one in [listed] if isinstance(listed, dict) else listed or ():
        filters = one.get("filter_list")
        filters = [filters] if isinstance(filters, str) else filters
        by_size = bool(one.get("weight_by_size", True))
        found.append(GroupMetric(one["metric"], None if filters is None else tuple(filters), by_size))
    return found


def headline(name: str) -> str:
    """The group's first own metric, else the task's first metric that is computed here; with the name of its
    filter unless that is "none".

    Raises:
        PerbenchError: as `leaves`; also for a task that names no metric.
    """
    named = [(metric, filtered) for leaf in leaves(name) for metric, filtered in _metrics(leaf)]
    for rule in group_metrics(name):
        for metric, filtered in named:
            if metric == rule.metric and (rule.filters is None or filtered in rule.filters):
                return metric_name(metric, filtered)
    if not named:
        raise PerbenchError(f"lm-eval's task {name!r} names no metric, so it has no headline")
    return metric_name(*named[0])


def _metrics(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(metric, filter) of a task, in order; those that are computed here first."""
    kind = config.get("output_type") or "generate_until"
    listed = config.get("metric_list") or [{"metric": name} for name in DEFAULTS.get(kind, ())]
    known = [one for one in listed if _computed(one)]
    filters = [one["name"] for one in config.get("filter_list") or ()] or ["none"]
    ordered = [*known, *(one for one in listed if one not in known)]
    return [(_called(one["metric"]), filtered) for one in ordered for filtered in filters]


def _called(metric: Any) -> str:
    return metric.last if isinstance(metric, Function) else str(metric)


def _computed(listed: Mapping[str, Any]) -> bool:
    kind = listed.get("aggregation") or MEAN
    return isinstance(kind, str) and computes(kind)


def lower_is_better(name: str, metric: str) -> bool:
    """Whether lower values of a metric, filter or not, are better: by the task or one of its group, else by
    lm-eval.

    Raises:
        PerbenchError: as `leaves`.
    """
    plain = metric.partition(",")[0]
    said = [
        entry["higher_is_better"]
        for leaf in leaves(name)
        for entry in leaf.get("metric_list") or ()
        if _called(entry["metric"]) == plain and "higher_is_better" in entry
    ]
    return False in said if said else plain in LOWER


def metric_name(metric: str, filtered: str) -> str:
    return metric if filtered == "none" else f"{metric},{filtered}"


def spec_values(name: str) -> dict[str, Any]:
    """The equivalent YAML file of target `lm_eval:NAME`.

    Raises:
        PerbenchError: as `headline`.
    """
    refuse(leaves(name))
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
    return canonical_digest({**described, "tasks": [portable(leaf) for leaf in leaves(name)]}), described
