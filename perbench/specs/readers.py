"""Finds keys of a task that are not used, by its protocol or in a matrix's row.

A key that the protocol never uses is always an error. A key that only another choice uses (`persona.time`
with `persona.retrieve: latest`) may be in a task's file, for rows of a matrix; a row that sets it would be
labelled with a setting that has no effect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from perbench.errors import Problem
from perbench.specs.compose import keys_under, metric_keys, owner_of, source_of, summariser_of
from perbench.specs.grid import leaves
from perbench.specs.yaml import Document, KeyPath

if TYPE_CHECKING:
    from perbench.contracts.base import Owner
    from perbench.shapes.task import TaskSpec

NOTES = ("summary", "license", "redistributable", "notes")
"""Keys of a task for its human readers."""
TRAINED_ON = (
    *("data.train_split", "examples.train", "data.val_split", "examples.val"),
    *("fields.item_example", "fields.rejected"),
)
EVALUATED_ON = ("data.test_split", "examples.test", "fields.item_example")


def idle(task: TaskSpec, axis: Literal["sources", "targets"], *, own_adapters: bool) -> dict[str, str]:
    """The keys that are not used in a row of this kind, and where: {"decoding.lam": "under decoding.method
    ordinary"}. `own_adapters`: whether trainings continue with users' own adapters."""
    owner, persona = owner_of(task), task.persona
    found = dict.fromkeys(NOTES, "in a row of a matrix")
    measured = metric_keys(task)
    of_metrics = set().union(*measured.values())
    if axis == "sources":
        unused = [*owner.of_answers, *of_metrics, *(() if own_adapters else EVALUATED_ON)]
        found |= dict.fromkeys(unused, "in a source")
    elif not owner.tunes:
        found |= dict.fromkeys(TRAINED_ON, "in a target")
    rankings, summarisers, decodings = (
        {name: _keys_under(under, cls) for name, cls in section.owned[kind].items()}
        for under, section, kind in (
            ("persona", persona, "ranking"),
            ("persona", persona, "summariser"),
            ("decoding", task.decoding, "decoding"),
        )
    )
    found |= _of_others(rankings, "persona.retrieve", persona.retrieve)
    found |= _of_others(decodings, "decoding.method", task.decoding.method)
    found |= _of_others({"none": (), **summarisers}, "persona.summarise", persona.summarise)
    if axis == "targets":
        others = of_metrics.difference(*(measured[name] for name in task.metrics))
        found |= dict.fromkeys(sorted(others), f"under metrics {', '.join(task.metrics)}")
    found |= {
        f"prompts.{name}": f"under prompt {task.prompt}" for name in task.prompts if name != task.prompt
    }
    summariser = summariser_of(persona)
    found |= summariser.idle() if summariser is not None else {}
    return found | owner.idle() | source_of(task.data).idle()


def _keys_under(section: str, owner: type[Owner[Any]]) -> set[str]:
    """The keys that an owner reads, its own included."""
    return {*owner.reads, *(f"{section}.{name}" for name in owner.Keys.model_fields)}


def _of_others(reads: Mapping[str, Collection[str]], key: str, chosen: str) -> dict[str, str]:
    others = {name for names in reads.values() for name in names} - set(reads[chosen])
    return dict.fromkeys(sorted(others), f"under {key} {chosen}")


def dropped(task: TaskSpec, shared: Mapping[str, Any]) -> dict[str, str]:
    """As `idle`: changes to all rows of a task that one with another protocol leaves out."""
    reads = keys_under(type(owner_of(task)), task)
    paths = [".".join(keys) for keys in leaves(dict(shared))]
    return {
        path: f"under protocol {task.protocol}"
        for path in paths
        if not any(f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}.") for key in reads)
    }


def idle_in_row(
    document: Document, where: KeyPath, changes: dict[str, Any], found: Sequence[dict[str, str]]
) -> list[Problem]:
    """Keys set by a row that have no effect in one of its variants, although its label shows them; `found`
    holds the unused keys of each."""
    problems = []
    for keys, value in leaves(changes).items():
        by_variant = [_override_faults(".".join(keys), value, idle_keys) for idle_keys in found]
        for path, fault in dict.fromkeys(fault for faults in by_variant for fault in faults.items()):
            used = not all(path in faults for faults in by_variant)
            way_out = "move the setting that uses it to a row of its own" if used else "remove it"
            problems.append(document.place((*where, *keys)).problem(f"{fault}; {way_out}"))
    return problems


def idle_sets(
    document: Document, overrides: dict[str, Any], idle_in: Mapping[str, Sequence[dict[str, str]]]
) -> list[Problem]:
    """Keys that --set gives to a task and none of its rows uses. In a file they are allowed: the sets may
    have replaced the rows that use them."""
    problems = []
    for name, changes in overrides.items():
        for key, value in changes.items() if isinstance(changes, dict) else ():
            place = document.place(("tasks", name, key))
            by_row = [_override_faults(key, value, idle_keys) for idle_keys in idle_in.get(name, ())]
            if str(place.source).startswith("--set ") and by_row:
                everywhere = set.intersection(*map(set, by_row))
                problems += [
                    place.problem(f"{fault}; remove it")
                    for path, fault in by_row[0].items()
                    if path in everywhere
                ]
    return problems


def _override_faults(key: str, value: Any, idle_keys: Mapping[str, str]) -> dict[str, str]:
    """The faults of an override of a dotted key path, by `idle`: {path: fault} for every unused key in it,
    without what to do."""
    inner = leaves(value) if isinstance(value, dict) else {(): value}
    return {
        path: f"{path}: is not used {where}"
        for path in (".".join((key, *keys)) for keys in inner)
        for known, where in idle_keys.items()
        if path == known or path.startswith(f"{known}.")
    }
