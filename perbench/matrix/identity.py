"""The inputs of cells, and their sha256 as identity.

They include everything that can change a cell's numbers beyond rounding. Software versions are in the
record's environment instead; a VERSION below is raised by hand when perbench changes what it computes. Paths
are excluded: weights and data are identified by content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from perbench import plugins
from perbench.contracts.base import Owner
from perbench.disk.digests import canonical_text, text_digest
from perbench.lm.template import CLOCK
from perbench.shapes.fields import sampled
from perbench.shapes.persona import PersonaSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import decoding_of, owner_of, ranked_text, ranking_of, summariser_of
from perbench.specs.grid import leaves

TRAIN_VERSION = 2
EVAL_VERSION = 3
"""Version 2 treated refused, filtered and null replies of endpoints as empty answers and a tagged thought as
part of the answer, and lm-eval's softmax had the weights' dtype."""
IDENTIFY_VERSION = 3
PROMPTS = {"version": 2, "day": CLOCK.date().isoformat()}
"""How dialogues become tokens, for models in this process; the chat template itself is one of a model's
files. Version 1 tokenised responses, and decoded answers, as the start of a text, let templates read the
clock and left thoughts open."""

COMPUTED = "computed"
"""Key of the dtype that `dtype: auto` stood for, if not the usual one."""

Inputs = dict[str, Any]


class Shared(Inputs):
    """A part of many cells' inputs, whose canonical JSON is written once; not to be changed."""

    @cached_property
    def canonical(self) -> str:
        return canonical_text(self)


def identity_of(inputs: Inputs) -> str:
    """sha256 in hex over canonical JSON: `canonical_digest`."""
    parts = (f"{canonical_text(key)}:{part_text(inputs[key])}" for key in sorted(inputs))
    return text_digest(f"{{{','.join(parts)}}}")


def part_text(part: Any) -> str:
    """Canonical JSON of a part of inputs."""
    return part.canonical if isinstance(part, Shared) else canonical_text(part)


def plugin_inputs(
    name: str, digest: str, params: Mapping[str, Any], reference: tuple[str, Inputs] | None = None
) -> Inputs:
    """A trainer or identifier: name, sha256 of its file, all hyperparameters. `reference` is a frozen model
    named by a hyperparameter and what identifies it, which replaces its name or path."""
    named = dict(params)
    if reference is not None:
        named = {key: "reference" if value == reference[0] else value for key, value in named.items()}
    inputs: Inputs = {"name": name, "plugin": digest, "params": named}
    return {**inputs, "reference": reference[1]} if reference is not None else inputs


def train_inputs(
    *,
    model: Inputs,
    trainer: Inputs,
    source: Inputs,
    data: str,
    training: Inputs,
    seed: int,
    own_data: str | None = None,
) -> Inputs:
    """Inputs of a train cell. `source` is from `source_inputs`, `data` is the training split's digest,
    `training` is `TrainingSpec.inputs`, `own_data` the digest of the training data of users' own adapters, if
    any."""
    return {
        "version": TRAIN_VERSION,
        "model": model,
        "trainer": trainer,
        "source": source,
        "data": data,
        **({"own_data": own_data} if own_data is not None else {}),
        "training": training,
        "seed": seed,
    }


def eval_inputs(
    *,
    model: Inputs,
    train: str | None,
    target: Inputs,
    data: str,
    engine: str | Inputs,
    computed: Inputs,
    seed: int,
) -> Inputs:
    """Inputs of an eval cell. `train` is the train cell's identity, None for the base model; `target` is from
    `target_inputs`, `engine` from `specs.compose.engine_inputs`, `computed` from
    `perbench.matrix.catalogue.computed`."""
    return {
        "version": EVAL_VERSION,
        "model": model,
        "train": train,
        "target": target,
        "data": data,
        "engine": engine,
        **computed,
        "seed": seed,
    }


def identify_inputs(
    *,
    model: Inputs,
    identifier: Inputs,
    target: Inputs,
    data: str,
    dev: str | None,
    engine: str | Inputs,
    computed: Inputs,
) -> Inputs:
    """Inputs of an identify cell. `dev` is the digest of the split on which thresholds are chosen, None if
    the task has none; the others as in `eval_inputs`."""
    return {
        "version": IDENTIFY_VERSION,
        "model": model,
        "identifier": identifier,
        "target": target,
        "data": data,
        "dev": dev,
        "engine": engine,
        **computed,
    }


def source_inputs(name: str, task: TaskSpec, helpers: Mapping[str, Inputs]) -> Inputs:
    """The part of a source task on which its trainings depend; `helpers` maps the names of
    `specs.compose.helpers_of` to what identifies them."""
    end = {"end": task.sampling.end} if task.sampling.end != "turn" else {}
    return {"name": name, **_prompting(task, helpers), **end}


def target_inputs(name: str, task: TaskSpec, helpers: Mapping[str, Inputs]) -> Inputs:
    """The part of a target task on which its samples depend; `helpers` as in `source_inputs`."""
    inputs: Inputs = {"name": name, "protocol": task.protocol, **_prompting(task, helpers)}
    if task.persona.whose != "own":
        inputs["persona"]["whose"] = task.persona.whose
    owner = owner_of(task)
    if owner.cells == "eval":
        inputs["sampling"] = sampled(task.sampling, helpers)
    decoding = decoding_of(task.decoding)
    decoded = {**decoding.inputs(helpers), **_code("decoding", task.decoding.method, decoding)}
    if decoded:
        inputs["decoding"] = decoded
    if owner.version is None:
        inputs["plugin"] = plugins.get("protocol", task.protocol).digest()
    elif owner.version > 1:
        inputs["protocol_version"] = owner.version
    return {**inputs, **owner.inputs(helpers)}


def _prompting(task: TaskSpec, helpers: Mapping[str, Inputs]) -> Inputs:
    # Without metrics and headline, which are recomputed from the samples (`perbench rescore`).
    form = sampled(task.prompts[task.prompt], helpers) if task.prompt is not None else None
    persona = _persona(task.persona, helpers)
    text = ranked_text(task)
    if text is not None:
        persona["item_text"] = text
    long = {"on_too_long": task.on_too_long} if task.on_too_long != "fail" else {}
    cap = {"max_prompt": task.max_prompt} if task.max_prompt is not None else {}
    return {"prompt": form, "persona": persona, "max_length": task.max_length, **long, **cap}


def _persona(spec: PersonaSpec, helpers: Mapping[str, Inputs]) -> Inputs:
    ranking, summariser = ranking_of(spec), summariser_of(spec)
    reads = {key.removeprefix("persona.") for key in ranking.reads if key.startswith("persona.")}
    inputs = spec.model_dump(mode="json", include={"k", "max_tokens", *reads})
    inputs |= sampled(ranking.keys, helpers)
    if spec.retrieve != type(spec).model_fields["retrieve"].default:
        inputs["retrieve"] = spec.retrieve
    if code := _code("ranking", spec.retrieve, ranking):
        inputs["ranking"] = code
    if summariser is not None:
        inputs |= summariser.inputs(helpers)
        if code := _code("summariser", spec.summarise, summariser):
            inputs["summariser"] = code
    return inputs


def _code(kind: str, name: str, owner: Owner[Any]) -> Inputs:
    """The part of an owner's code: nothing at version 1."""
    if owner.version is None:
        return {"plugin": plugins.get(kind, name).digest()}
    return {"version": owner.version} if owner.version > 1 else {}


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted paths of the inputs that differ, sorted: ["data", "trainer.params.alpha"]."""
    return sorted(map(".".join, _differing(leaves(old), leaves(new))))


KeyPath = tuple[str, ...]


def _differing(before: Mapping[KeyPath, Any], after: Mapping[KeyPath, Any]) -> Iterator[KeyPath]:
    for path in before.keys() | after.keys():
        if path not in before or path not in after or before[path] != after[path]:  # absent is not null
            yield path


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`differing` for people: a section that is on one side only, or a value on the other, is named as a
    whole, not key by key."""
    before, after = leaves(old), leaves(new)
    sections_before, sections_after = (
        {path[:end] for path in found for end in range(1, len(path) + 1)} for found in (before, after)
    )
    found = set()
    for path in _differing(before, after):
        known = sections_after if path in before else sections_before
        starts = (path[:end] for end in range(1, len(path)))
        found.add(next((start for start in starts if start not in known), path))
    whole = [path for path in found if not any(path[:end] in found for end in range(1, len(path)))]
    return sorted(map(".".join, whole))
