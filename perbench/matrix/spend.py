"""Estimates a cell's requests to paid models, and their maximum cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perbench.api import Example, Identifier
from perbench.contracts.base import Asked
from perbench.contracts.engine_kind import EngineKind
from perbench.matrix.offers import Lookup
from perbench.prompts.messages import estimated
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import engine_of, owner_of, summariser_of


@dataclass(frozen=True)
class Spend:
    """Requests to one paid model. `cost` is None if prices are unknown; it includes neither retries nor
    repeated ratings, and does not deduct cached replies."""

    asked: Asked
    cost: float | None
    currency: str | None


Examples = Callable[[], Sequence[Example]]
"""Called only if a model is paid."""


def spend(task: TaskSpec, subject: Named[ModelSpec], examples: Examples, model: Lookup) -> dict[str, Spend]:
    """An evaluation's requests to each paid model, by name."""
    cast = {
        role.name: subject if role.model is None else model(role.model) for role in owner_of(task).roles()
    }
    return _paid({"subject": subject, **cast}, lambda: owner_of(task).asks(examples()))


def persona_spend(task: TaskSpec, examples: Examples, model: Lookup) -> dict[str, Spend]:
    """Requests to paid models to rewrite these histories."""
    summariser = summariser_of(task.persona)
    if summariser is None:
        return {}
    cast = {role.name: model(role.model) for role in summariser.roles() if role.model is not None}
    return _paid(cast, lambda: summariser.asks(examples()))


def _paid(cast: Mapping[str, Named[ModelSpec]], asks: Callable[[], Mapping[str, Asked]]) -> dict[str, Spend]:
    paid = {named.name: engine for named in cast.values() if (engine := engine_of(named)).paid}
    if not paid:
        return {}
    found: defaultdict[str, Asked] = defaultdict(Asked)
    for role, asked in asks().items():
        found[cast[role].name] += asked
    return {name: _spend(paid[name], asked) for name, asked in found.items() if name in paid}


def asks_paid(task: TaskSpec, subject: Named[ModelSpec], model: Lookup) -> bool:
    """Whether an evaluation, or the summaries of its histories, asks a paid model."""
    summariser = summariser_of(task.persona)
    roles = [*owner_of(task).roles(), *(summariser.roles() if summariser is not None else ())]
    asked = [subject, *(model(role.model) for role in roles if role.model is not None)]
    return any(engine_of(one).paid for one in asked)


def identify_spend(identifier: Identifier, subject: Named[ModelSpec], examples: Examples) -> dict[str, Spend]:
    """An identifier's requests to a paid model, {} if none: one per answer, for as many tokens as its
    hyperparameter `max_new_tokens`, if any."""
    if not identifier.needs_model or not engine_of(subject).paid:
        return {}
    asked, written = Asked(), getattr(identifier, "max_new_tokens", SamplingSpec().max_new_tokens)
    for example in examples():
        persona = sum(estimated(str(value)) for item in example.persona for value in item.values())
        read = persona + estimated(example.question) + estimated(example.reference)
        asked += Asked(1, read, written)
    return {subject.name: _spend(engine_of(subject), asked)}


def total(spends: Sequence[Mapping[str, Spend]]) -> dict[str, Spend]:
    """The sum over cells, by model name; a cost is missing if it is missing in any cell."""
    found: dict[str, Spend] = {}
    for name, one in (item for cell in spends for item in cell.items()):
        sofar = found.get(name)
        if sofar is None:
            found[name] = one
        else:
            both = None if sofar.cost is None or one.cost is None else round(sofar.cost + one.cost, 6)
            found[name] = Spend(sofar.asked + one.asked, both, sofar.currency)
    return found


def _spend(engine: EngineKind[Any], asked: Asked) -> Spend:
    return Spend(asked, *(engine.price(asked) or (None, None)))
