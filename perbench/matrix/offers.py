"""Checks that engines offer what a matrix needs of their models, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perbench import plugins
from perbench.api import Identifier
from perbench.contracts.base import Capability, Role
from perbench.errors import PerbenchError
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import engine_name, engine_of, owner_of, roles_of
from perbench.specs.matrix import MatrixSpec

Lookup = Callable[[str], Named[ModelSpec]]
TOKENS: frozenset[Capability] = frozenset({"tokens", "score"})
"""What identifiers with `needs_tokens` need."""


def trainable_models(spec: MatrixSpec, model: Lookup) -> list[str]:
    """The models to train: those whose engine can serve trained weights. Others have only base rows.

    Raises:
        PerbenchError: there are trainers but no trainable model, or a model is left without rows.
    """
    engines = {name: engine_of(model(name)) for name in spec.models}
    trainable = [name for name, engine in engines.items() if "adapters" in engine.offers]
    fixed = [name for name in spec.models if name not in trainable]
    if spec.trainers and fixed and not (trainable and spec.base_rows):
        engine = engines[fixed[0]]
        why = "it serves no adapters" if engine.weights else "its weights are not on this machine"
        raise PerbenchError(
            f"{', '.join(fixed)}: {engine.what} cannot be trained ({why}) and has only base rows; "
            + (
                "set base_rows: true, or remove it"
                if trainable
                else "remove trainers and sources, or --trainer and --source"
            )
        )
    return trainable


def check_adapters(trained: Iterable[str], model: Lookup, rank: int) -> None:
    """Refuse adapters that an engine cannot serve. `rank` is the largest of the matrix, 0 for none.

    Raises:
        PerbenchError: naming the keys to set.
    """
    for name in trained if rank else ():
        for fault in engine_of(model(name)).faults(rank):
            raise PerbenchError(f"model {name}: {fault}")


def check_roles(task: Named[TaskSpec], spec: MatrixSpec, model: Lookup) -> None:
    """Refuse models that lack what a target needs.

    Raises:
        PerbenchError: naming the keys to set.
    """
    subject = Role("subject", None, sampling=task.spec.sampling if _samples(task.spec) else None)
    for role in (subject, *roles_of(task.spec)):
        for name in spec.models if role.model is None else [role.model]:
            engine = engine_of(model(name))
            needs = {**role.needs, **_sampling_needs(role)}
            lacking = [message for need, message in needs.items() if not engine.can(need)]
            if lacking:
                raise PerbenchError(f"task {task.name}: {lacking[0].format(model=name, what=engine.what)}")


def _samples(task: TaskSpec) -> bool:
    return "sampling" in owner_of(task).reads


def _sampling_needs(role: Role) -> dict[Capability, str]:
    """What not every engine can do of how a role's answers are sampled, with the message otherwise."""
    found: dict[Capability, str] = {}
    if role.sampling is not None and role.sampling.repetition_penalty != 1:
        found["penalty"] = (
            f"{role.sampling_key}.repetition_penalty {role.sampling.repetition_penalty:g}: {{model}} is "
            "{what}, which is not known to apply one; remove it, or, if an endpoint's server takes it, set "
            "endpoint.send_as.repetition_penalty in the model's file to the server's name of it"
        )
    if role.sampling is not None and role.sampling.end == "eos":
        found["eos"] = (
            f"{role.sampling_key}.end eos: {{model}} is {{what}}, which ends answers at the end of a turn; "
            "remove it, or use a model whose weights are on this machine (hub, path or gguf)"
        )
    return found


def check_identifier(name: str, identifier: Identifier, model: Named[ModelSpec]) -> None:
    """Refuse a model without tokens for an identifier that reads them.

    Raises:
        PerbenchError: naming what to use instead.
    """
    engine = engine_of(model)
    if identifier.needs_model and identifier.needs_tokens and not engine.offers >= TOKENS:
        chatting = [
            other
            for other, cls in plugins.classes("identifier").items()
            if cls.needs_model and not cls.needs_tokens
        ]
        raise PerbenchError(
            f"identifier {name} reads tokens, but {model.name} is {engine.what}, which exposes none; use a "
            f"model whose weights are on this machine, or identifiers that only chat ({', '.join(chatting)})"
        )


def mixed_engines(rows: Iterable[tuple[str, Named[ModelSpec]]]) -> list[str]:
    """A line for each set of targets whose local models are served by different engines; `rows` are (target,
    model)."""
    found: dict[str, dict[str, str]] = {}
    for target, named in rows:
        if engine_of(named).weights:
            found.setdefault(target, {}).setdefault(engine_name(named.spec), named.name)
    mixed: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for target, engines in found.items():
        if len(engines) > 1:
            mixed.setdefault(tuple(sorted(engines.items())), []).append(target)
    lines = []
    for pairs, targets in mixed.items():
        (one, _), (other, model) = pairs[0], pairs[-1]
        listed = ", ".join(f"{engine}: {served}" for engine, served in pairs)
        lines.append(
            f"{', '.join(targets[:3])}{' and others' if len(targets) > 3 else ''}: rows of one table by "
            f"different engines ({listed}); to check that their results agree, run `perbench doctor --engine "
            f"{other} --against {one} --model {model}`"
        )
    return lines
