"""What a matrix may ask of endpoints, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from perbench.api import Identifier
from perbench.contracts.base import Capability
from perbench.errors import PerbenchError
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of, persona_roles
from perbench.specs.matrix import MatrixSpec

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
    """Refuse models that do not offer what a target needs of them.

    Raises:
        PerbenchError: naming the keys to set.
    """
    for role in [*owner_of(task.spec).roles(), *persona_roles(task.spec.persona)]:
        for name in spec.models if role.model is None else [role.model]:
            lacking = [told for need, told in role.needs.items() if need not in offers(model(name).spec)]
            if lacking:
                raise PerbenchError(f"task {task.name}: {lacking[0].format(model=name, what='an endpoint')}")


def offers(model: ModelSpec) -> frozenset[Capability]:
    """What the engine of a model can do."""
    return frozenset({"chat"}) if model.endpoint is not None else frozenset(get_args(Capability))


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
