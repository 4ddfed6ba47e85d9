"""What a cell is made of: its resolved inputs, and their sha256 as its identity.

Everything that can change a cell's numbers beyond rounding is in. Versions of the software are in the
record's environment instead; a VERSION below is bumped by hand when perbench changes what it computes.
Paths never enter: weights and data are named by their content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perbench.digests import canonical_digest
from perbench.prompts.summary import WORDING
from perbench.prompts.template import CLOCK
from perbench.specs.grid import leaves
from perbench.specs.matrix import TrainingSpec
from perbench.specs.persona import PersonaSpec
from perbench.specs.task import TaskSpec

TRAIN_VERSION = 2
EVAL_VERSION = 3
"""2 took refused, filtered and null replies of endpoints for empty answers, a thought between tags for a part
of the answer, and lm-eval's softmax had the weights' dtype."""
IDENTIFY_VERSION = 3
SWAP_VERSION = 2
"""Of what a task's section persona_swap adds to samples; 1 compared with personas that do not fit, too."""
PROMPTS = {"version": 2, "day": CLOCK.date().isoformat()}
"""Of how dialogues become tokens, for models in this process; the chat template itself is among the files of
a model. 1 tokenised responses, and decoded answers, as the start of a text, let templates read the clock and
left thoughts open."""

Inputs = dict[str, Any]


def identity_of(inputs: Inputs) -> str:
    """sha256 in hex over canonical JSON."""
    return canonical_digest(inputs)


def plugin_inputs(
    name: str, digest: str, params: Mapping[str, Any], reference: tuple[str, Inputs] | None = None
) -> Inputs:
    """A trainer or identifier: name, sha256 of its file, all hyperparameters. `reference` is a frozen model
    named by a hyperparameter with what identifies it: its name or path gives way to its content."""
    named = dict(params)
    if reference is not None:
        named = {key: "reference" if value == reference[0] else value for key, value in named.items()}
    inputs: Inputs = {"name": name, "plugin": digest, "params": named}
    return {**inputs, "reference": reference[1]} if reference is not None else inputs


def train_inputs(
    *,
    model: Inputs,
    trainer: Inputs,
    source: str,
    task: TaskSpec,
    data: str,
    training: TrainingSpec,
    seed: int,
    helpers: Mapping[str, Inputs],
    own_data: str | None = None,
) -> Inputs:
    """Inputs of a train cell. `data` is the training split's digest, `helpers` as in `eval_inputs`,
    `own_data` the digest of what the users' own adapters learn from, None without such."""
    return {
        "version": TRAIN_VERSION,
        "model": model,
        "trainer": trainer,
        "source": {"name": source, **_prompting(task, helpers)},
        "data": data,
        **({"own_data": own_data} if own_data is not None else {}),
        "training": training.inputs,
        "seed": seed,
    }


def eval_inputs(
    *,
    model: Inputs,
    train: str | None,
    target: str,
    task: TaskSpec,
    data: str,
    engine: str,
    seed: int,
    helpers: Mapping[str, Inputs],
) -> Inputs:
    """Inputs of an eval cell. `train` is the train cell's identity, None for the base model; `helpers` maps
    the names of `TaskSpec.helpers` to what identifies them."""
    return {
        "version": EVAL_VERSION,
        "model": model,
        "train": train,
        "target": target_inputs(target, task, helpers),
        "data": data,
        "engine": engine,
        "seed": seed,
    }


def identify_inputs(
    *, model: Inputs, identifier: Inputs, target: str, task: TaskSpec, data: str, dev: str | None, engine: str
) -> Inputs:
    """Inputs of an identify cell. `dev` is the digest of the split that thresholds are chosen on, None where
    the task has none."""
    return {
        "version": IDENTIFY_VERSION,
        "model": model,
        "identifier": identifier,
        "target": target_inputs(target, task, {}, sampled=False),
        "data": data,
        "dev": dev,
        "engine": engine,
    }


def target_inputs(
    name: str, task: TaskSpec, helpers: Mapping[str, Inputs], *, sampled: bool = True
) -> Inputs:
    """What of a target task its samples depend on; `sampled` says that the model generates."""
    inputs: Inputs = {"name": name, "protocol": task.protocol, **_prompting(task, helpers)}
    if sampled:
        inputs["sampling"] = task.sampling.model_dump(mode="json")
    if task.decoding.method != "ordinary":
        inputs["decoding"] = task.decoding.model_dump(mode="json")
    if task.dialogue is not None:
        dialogue = task.dialogue.model_dump(mode="json", exclude={"report_turns"})
        if dialogue["second_judge"] is None:
            del dialogue["second_judge"]
        del dialogue["judge"]["calibrated"]
        for role in {"simulator", "judge", "second_judge"} & dialogue.keys():
            dialogue[role]["model"] = helpers[dialogue[role]["model"]]
        inputs["dialogue"] = dialogue
    if task.preference is not None:
        preference = task.preference.model_dump(mode="json")
        del preference["judge"]["calibrated"]
        preference["judge"]["model"] = helpers[preference["judge"]["model"]]
        inputs["preference"] = preference
    if task.protocol == "lm_eval":
        inputs["lm_eval"] = task.lm_eval.model_dump(mode="json")
    if task.persona_swap is not None:
        swap = task.persona_swap.model_dump(mode="json")
        inputs["persona_swap"] = {"version": SWAP_VERSION, **swap, "scorer": helpers.get(swap["scorer"])}
    return inputs


def _prompting(task: TaskSpec, helpers: Mapping[str, Inputs]) -> Inputs:
    # Metrics and headline stay out: they are recomputed from the samples (`perbench rescore`).
    form = task.prompts[task.prompt].model_dump(mode="json") if task.prompt is not None else None
    persona = _persona(task.persona, helpers)
    if task.ranked_text is not None:
        persona["item_text"] = task.ranked_text
    skips = {"on_too_long": task.on_too_long} if task.on_too_long != "fail" else {}
    return {"prompt": form, "persona": persona, "max_length": task.max_length, **skips}


def _persona(spec: PersonaSpec, helpers: Mapping[str, Inputs]) -> Inputs:
    ranked = {key.removeprefix("persona.") for key in spec.ranking.reads if key.startswith("persona.")}
    inputs = spec.model_dump(mode="json", include={"k", "max_tokens", *ranked})
    if spec.retrieve != "all":
        inputs["retrieve"] = spec.retrieve
    if "encoder" in inputs:
        inputs["encoder"] = helpers[spec.encoder]
    if spec.summarise != "none" and spec.summary is not None:
        summary = {**spec.summary.model_dump(mode="json"), "model": helpers[spec.summary.model]}
        inputs["summary"] = {**summary, "method": spec.summarise, "wording": WORDING}
    return inputs


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted paths of the inputs that differ, sorted: ["data", "trainer.params.alpha"]."""
    before, after = leaves(old), leaves(new)
    paths = (
        path
        for path in before.keys() | after.keys()
        if path not in before or path not in after or before[path] != after[path]  # absent is not null
    )
    return sorted(map(".".join, paths))
