"""What a matrix may ask of endpoints, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable

from perbench.api import Identifier
from perbench.errors import PerbenchError
from perbench.specs.load import Named
from perbench.specs.matrix import MatrixSpec
from perbench.specs.model import ModelSpec
from perbench.specs.task import TaskSpec

Lookup = Callable[[str], Named[ModelSpec]]


def trainable_models(spec: MatrixSpec, model: Lookup) -> list[str]:
    """The models that trainers train; endpoints have base rows only.

    Raises:
        PerbenchError: there are trainers, and nothing that they can train or nothing left to an endpoint.
    """
    endpoints = [name for name in spec.models if model(name).spec.endpoint is not None]
    trainable = [name for name in spec.models if name not in endpoints]
    if spec.trainers and endpoints and not (trainable and spec.base_rows):
        raise PerbenchError(
            f"{', '.join(endpoints)}: an endpoint cannot be trained, its weights are not on this machine; "
            "it has base rows only. "
            + (
                "Set base_rows: true, or remove it"
                if trainable
                else "Leave out trainers and sources, or --trainer and --source"
            )
        )
    return trainable


def check_endpoints(task: Named[TaskSpec], spec: MatrixSpec, model: Lookup) -> None:
    """Refuse endpoints where a target needs log-probs, logits or vectors.

    Raises:
        PerbenchError: naming the keys to set.
    """
    for name in spec.models if task.spec.protocol == "lm_eval" else []:
        if model(name).spec.endpoint is not None:
            raise PerbenchError(
                f"task {task.name}: lm-evaluation-harness reads tokens and log-probs, and {name} is an "
                "endpoint, which shows none; use models whose weights are on this machine"
            )
    swap = task.spec.persona_swap
    scorers = [] if swap is None else spec.models if swap.scorer is None else [swap.scorer]
    for name in scorers:
        if model(name).spec.endpoint is not None:
            raise PerbenchError(
                f"task {task.name}: persona_swap by {name}, an endpoint, which gives no log-probs of given "
                "texts; name a local model: persona_swap.scorer"
            )
    steered = task.spec.decoding.method != "ordinary"
    for name in spec.models if steered else []:
        if model(name).spec.endpoint is not None:
            raise PerbenchError(
                f"task {task.name}: decoding.method {task.spec.decoding.method} of {name}, an endpoint, "
                "which shows no logits; use a model whose weights are on this machine"
            )
    persona = task.spec.persona
    if persona.retrieve == "dense" and model(persona.encoder).spec.endpoint is not None:
        raise PerbenchError(
            f"task {task.name}: persona.encoder {persona.encoder} is an endpoint, which can only chat; name "
            "an encoder whose weights are on this machine"
        )
    checker = None if task.spec.preference is None else task.spec.preference.judge
    likeliest = checker is not None and checker.method == "likeliest"
    if checker is not None and likeliest and model(checker.model).spec.endpoint is not None:
        raise PerbenchError(
            f"task {task.name}: the model {checker.model} of preference.judge is an endpoint, which gives no "
            "log-probs. Set preference.judge.method: reply; or name a model whose weights are on this machine"
        )
    if task.spec.dialogue is None:
        return
    for role, judge in zip(("judge", "second_judge"), task.spec.dialogue.judges(), strict=False):
        wrong = ["pmi: false"] if judge.pmi else []
        wrong += ["method: reply"] if judge.method == "likeliest" else []
        if wrong and model(judge.model).spec.endpoint is not None:
            raise PerbenchError(
                f"task {task.name}: the model {judge.model} of dialogue.{role} is an endpoint, which gives "
                f"no log-probs. Set dialogue.{role}.{f' and dialogue.{role}.'.join(wrong)}"
                + (" and headline: rating" if task.spec.headline == "pmi" else "")
                + "; or name a model whose weights are on this machine"
            )


def check_identifier(name: str, identifier: Identifier, model: Named[ModelSpec]) -> None:
    """Refuse an endpoint where an identifier reads tokens.

    Raises:
        PerbenchError: naming what to use instead.
    """
    if identifier.needs_model and identifier.needs_tokens and model.spec.endpoint is not None:
        raise PerbenchError(
            f"identifier {name} reads tokens and {model.name} is an endpoint, which shows none; use a model "
            "whose weights are on this machine, or name identifiers that only chat, such as llm_judge"
        )
