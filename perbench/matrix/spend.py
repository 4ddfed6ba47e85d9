"""What a cell will ask of endpoints, and what that will cost at most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perbench.api import Example, Identifier
from perbench.engines.ledger import cost
from perbench.matrix.endpoints import Lookup
from perbench.prompts.messages import build_request, estimated
from perbench.prompts.summary import NEXT
from perbench.specs.load import Named
from perbench.specs.model import ModelSpec
from perbench.specs.preference import CHECKS
from perbench.specs.sampling import SamplingSpec
from perbench.specs.task import TaskSpec


@dataclass(frozen=True)
class Asked:
    """Requests of one part played in a cell; tokens as the model reads and at most writes them, estimated."""

    requests: int = 0
    input: int = 0
    output: int = 0

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.requests + other.requests, self.input + other.input, self.output + other.output)


@dataclass(frozen=True)
class Spend:
    """What one endpoint is asked. `cost` is None without a price table; retries and ratings asked again are
    not foreseen, replies from the cache not deducted."""

    asked: Asked
    cost: float | None
    currency: str | None


def spend(
    task: TaskSpec, subject: Named[ModelSpec], examples: Iterable[Example], model: Lookup
) -> dict[str, Spend]:
    """What an evaluation asks of each endpoint that takes part, by model name."""
    found: defaultdict[str, Asked] = defaultdict(Asked)
    names = {subject.name: subject}
    if task.dialogue is not None or task.preference is not None:
        parts = {role: model(name) for role, name in _cast(task).items()} | {"subject": subject}
        names |= {named.name: named for named in parts.values()}
        count = dialogue_parts if task.dialogue is not None else preference_parts
        for role, asked in count(task, examples).items():
            found[parts[role].name] += asked
    elif task.protocol == "generation" and subject.spec.endpoint is not None:
        for example in examples:
            request = build_request(task, example)
            found[subject.name] += Asked(1, request.tokens, task.sampling.max_new_tokens)
    return {name: _spend(names[name], asked) for name, asked in found.items() if names[name].spec.endpoint}


def identify_spend(
    identifier: Identifier, subject: Named[ModelSpec], examples: Iterable[Example]
) -> dict[str, Spend]:
    """What an identifier asks of an endpoint, {} where it asks none: once about every answer, for as many
    tokens as its hyperparameter `max_new_tokens` says, if it has one."""
    if not identifier.needs_model or subject.spec.endpoint is None:
        return {}
    asked, written = Asked(), getattr(identifier, "max_new_tokens", SamplingSpec().max_new_tokens)
    for example in examples:
        persona = sum(estimated(str(value)) for item in example.persona for value in item.values())
        read = persona + estimated(example.question) + estimated(example.reference)
        asked += Asked(1, read, written)
    return {subject.name: _spend(subject, asked)}


def summary_spend(task: TaskSpec, examples: Iterable[Example], model: Lookup) -> dict[str, Spend]:
    """What the summaries of these histories ask of an endpoint; {} where no endpoint summarises."""
    spec = task.persona.summary
    if task.persona.summarise == "none" or spec is None or model(spec.model).spec.endpoint is None:
        return {}
    named, asked = model(spec.model), Asked()
    for example in examples:
        items = example.persona[: task.persona.k]
        times = -(-len(items) // spec.block)
        texts = sum(estimated(str(value)) for item in items for value in item.values())
        told = times * (estimated(NEXT) + spec.max_new_tokens)
        asked += Asked(times, texts + told, times * spec.max_new_tokens)
    return {named.name: _spend(named, asked)}


def total(spends: Sequence[Mapping[str, Spend]]) -> dict[str, Spend]:
    """The sum over cells, by model name; a cost that is missing once is missing."""
    found: dict[str, Spend] = {}
    for name, one in (item for cell in spends for item in cell.items()):
        sofar = found.get(name)
        if sofar is None:
            found[name] = one
        else:
            both = None if sofar.cost is None or one.cost is None else round(sofar.cost + one.cost, 6)
            found[name] = Spend(sofar.asked + one.asked, both, sofar.currency)
    return found


def dialogue_parts(task: TaskSpec, examples: Iterable[Example]) -> dict[str, Asked]:
    """What each part of the dialogues is asked: `subject`, `simulator`, `judge`, `second_judge`."""
    spec = task.dialogue
    assert spec is not None, "the caller looked"
    found: defaultdict[str, Asked] = defaultdict(Asked)
    said, answered = spec.simulator.sampling.max_new_tokens, task.sampling.max_new_tokens
    for example in examples:
        persona = sum(estimated(str(value)) for value in example.extra.values())
        for turn in range(spec.turns):
            before = turn * (said + answered)
            told = persona + estimated(spec.simulator.instruction + spec.simulator.opening)
            found["simulator"] += Asked(1, told + before, said)
            found["subject"] += Asked(1, before + said, answered)
            for role, judge in zip(("judge", "second_judge"), spec.judges(), strict=False):
                read = persona + estimated(judge.instruction) + said + answered
                found[role] += Asked(1, read, judge.sampling.max_new_tokens)
    return dict(found)


def preference_parts(task: TaskSpec, examples: Iterable[Example]) -> dict[str, Asked]:
    """The same of a preference task: two answers of the `subject`, the checks of the `judge`."""
    spec = task.preference
    assert spec is not None, "the caller looked"
    found: defaultdict[str, Asked] = defaultdict(Asked)
    answer = task.sampling.max_new_tokens
    for example in examples:
        stated = estimated(str(example.extra.get("preference")))
        asked = estimated(example.question)
        turns = (example.extra.get("turns") or [])[: spec.turns]
        between = sum(estimated(str(turn)) for turn in turns)
        found["subject"] += Asked(1, stated, answer) + Asked(1, stated + answer + between + asked, answer)
        for check in CHECKS:
            read = estimated(getattr(spec.judge, check)) + stated + asked + answer
            found["judge"] += Asked(1, read, spec.judge.max_new_tokens)
    return dict(found)


def _cast(task: TaskSpec) -> dict[str, str]:
    if task.preference is not None:
        return {"judge": task.preference.judge.model}
    assert task.dialogue is not None
    judges = zip(("judge", "second_judge"), task.dialogue.judges(), strict=False)
    return {"simulator": task.dialogue.simulator.model, **{role: judge.model for role, judge in judges}}


def _spend(model: Named[ModelSpec], asked: Asked) -> Spend:
    prices = model.spec.endpoint.prices if model.spec.endpoint is not None else None
    if prices is None:
        return Spend(asked, None, None)
    return Spend(asked, cost(asked.input, asked.output, prices), prices.currency)
