"""Which keys of a task nothing reads: by its protocol, and in a matrix's row of it.

What a task's protocol never reads may stand nowhere. What only another choice reads (`persona.time`, which
`persona.retrieve: latest` reads) may stand in a task's file, for rows of a matrix to make use of; a row that
sets such a key itself would be named after a difference that there is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from perbench.errors import Problem
from perbench.specs.compose import owner_of, source_of
from perbench.specs.grid import leaves
from perbench.specs.yaml import Document, KeyPath

if TYPE_CHECKING:
    from perbench.contracts.base import Owner
    from perbench.shapes.task import TaskSpec

NOTES = ("summary", "license", "notes")
"""Keys of a task that are for its readers."""
TRAINED_ON = ("data.train_split", "examples.train", "fields.item_example")
EVALUATED_ON = ("data.test_split", "examples.test", "fields.item_example")


def idle(task: TaskSpec, axis: Literal["sources", "targets"], *, own_adapters: bool) -> dict[str, str]:
    """The keys that nothing reads in a row of this kind, and where that is: {"decoding.lam": "under
    decoding.method ordinary"}. `own_adapters` says that trainings go on to adapters of the users' own."""
    owner, persona = owner_of(task), task.persona
    found = dict.fromkeys(NOTES, "in a row of a matrix")
    if axis == "sources":
        found |= dict.fromkeys([*owner.of_answers, *(() if own_adapters else EVALUATED_ON)], "in a source")
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
    found |= {
        f"prompts.{name}": f"under prompt {task.prompt}" for name in task.prompts if name != task.prompt
    }
    return found | owner.idle() | source_of(task.data).idle()


def _keys_under(section: str, owner: type[Owner[Any]]) -> set[str]:
    """What an owner reads, its own keys among it."""
    return {*owner.reads, *(f"{section}.{name}" for name in owner.Keys.model_fields)}


def _of_others(reads: Mapping[str, Collection[str]], key: str, choice: str) -> dict[str, str]:
    others = {name for names in reads.values() for name in names} - set(reads[choice])
    return dict.fromkeys(sorted(others), f"under {key} {choice}")


def idle_in_row(
    document: Document, where: KeyPath, changes: dict[str, Any], found: Sequence[dict[str, str]]
) -> list[Problem]:
    """What a row sets without changing anything of one of its variants, whose name tells of it all the same;
    `found` holds what nothing reads in each."""
    problems = []
    for keys, value in leaves(changes).items():
        told = [_override_faults(".".join(keys), value, idle_keys) for idle_keys in found]
        for path, fault in dict.fromkeys(fault for faults in told for fault in faults.items()):
            read = not all(path in faults for faults in told)
            way_out = "give what reads it a row of its own" if read else "remove it"
            problems.append(document.place((*where, *keys)).problem(f"{fault}; {way_out}"))
    return problems


def idle_sets(
    document: Document, overrides: dict[str, Any], idle_in: Mapping[str, Sequence[dict[str, str]]]
) -> list[Problem]:
    """What --set gives a task without any of its rows reading it. In a file it may stand: rows that the sets
    put in the place of the file's may have no use for it."""
    problems = []
    for name, changes in overrides.items():
        for key, value in changes.items() if isinstance(changes, dict) else ():
            place = document.place(("tasks", name, key))
            told = [_override_faults(key, value, idle_keys) for idle_keys in idle_in.get(name, ())]
            if str(place.source).startswith("--set ") and told:
                everywhere = set.intersection(*map(set, told))
                problems += [
                    place.problem(f"{fault}; remove it")
                    for path, fault in told[0].items()
                    if path in everywhere
                ]
    return problems


def _override_faults(key: str, value: Any, idle_keys: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with an override of a dotted key path, by what `idle` says: {path: fault} of every key in
    it that has no reader, without the way out."""
    inner = leaves(value) if isinstance(value, dict) else {(): value}
    return {
        path: f"{path}: has no reader {where}"
        for path in (".".join((key, *keys)) for keys in inner)
        for known, where in idle_keys.items()
        if path == known or path.startswith(f"{known}.")
    }
