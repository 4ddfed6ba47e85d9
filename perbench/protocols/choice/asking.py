"""Builds the prompts of examples, and asks the model: for log-probs of the options, or for replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any

from perbench.contracts import missing
from perbench.contracts.engine import LEFT_OUT, Generation
from perbench.contracts.run import ask
from perbench.errors import PerbenchError
from perbench.lm.context import TooLong
from perbench.prompts.chat import encode_response
from perbench.prompts.messages import build_request
from perbench.prompts.pair import TurnPair, turns
from perbench.prompts.talk import Message, chats
from perbench.seeds import derive_seed

from .rules import best, option_scores
from .samples import ChoiceSample
from .section import ChoiceSpec

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.engine import Conversation, Engine
    from perbench.shapes.task import TaskSpec


def order_of(example: Example) -> list[int]:
    """The places of the options in an order by hash, which depends on nothing but the example's id."""
    return sorted(
        range(len(example.extra["options"])), key=lambda place: derive_seed("choice", example.id, place)
    )


def orders_of(spec: ChoiceSpec, example: Example) -> list[list[int]]:
    """The orders in which requests show the options: each moves the one before on by one."""
    first = order_of(example)
    count = min(spec.permutations, len(first)) if spec.by == "reply" else 1
    return [first[shift:] + first[:shift] for shift in range(count)]


def between(spec: ChoiceSpec, example: Example) -> list[Message]:
    """The exchanges between history and question."""
    pairs = example.extra["turns"][: spec.turns] if spec.turns else []
    return [
        message
        for asked, answered in pairs
        for message in (("user", str(asked)), ("assistant", str(answered)))
    ]


def lettered(spec: ChoiceSpec, example: Example, order: Sequence[int]) -> str:
    """The user's turn with the options in this order."""
    form, options = spec.reply, example.extra["options"]
    letters = ascii_uppercase if form.letters == "upper" else ascii_lowercase
    lines = [
        form.option.format_map({"letter": letter, "text": options[place]})
        for letter, place in zip(letters, order, strict=False)
    ]
    shown = str(lines) if form.shown == "list" else "\n".join(lines)
    return form.ask.format_map({"question": example.question, "options": shown})


# ---------------------------------------------------------------- log-probs


@dataclass(frozen=True)
class OptionScoring:
    """An example's prompts and the token ids of its options."""

    pair: TurnPair
    options: list[list[int]]


def scoring(
    task: TaskSpec, spec: ChoiceSpec, example: Example, tokenizer: Any, context: int | None
) -> OptionScoring:
    """
    Raises:
        TooLong: the request and the longest option alone are too long.
        PerbenchError: the chat template leaves nothing of an option.
    """
    options = [encode_response(tokenizer, option) for option in example.extra["options"]]
    for place, ids in enumerate(options):
        if not ids:
            raise PerbenchError(
                f"example {example.id}: options[{place}] has no token under the chat template"
            )
    longest = max(options, key=len)
    return OptionScoring(
        turns(task, example, tokenizer, longest, context=context, between=between(spec, example)), options
    )


def scored(
    task: TaskSpec, spec: ChoiceSpec, examples: Sequence[Example], engine: Engine
) -> list[ChoiceSample]:
    """Samples by the log-probs of the options, all asked in one call: an engine may read each prompt once."""
    found: list[OptionScoring | None] = []
    for example in examples:
        try:
            found.append(scoring(task, spec, example, engine.tokenizer, engine.context))
        except TooLong:
            if task.on_too_long == "fail":
                raise
            found.append(None)
    there = [one for one in found if one is not None]
    prompts, answers = [], []
    for one in there:
        for ids in (one.pair.factual.ids, one.pair.counterfactual.ids):
            prompts += [ids] * len(one.options)
            answers += one.options
    logp = iter([float(values.sum()) for values in engine.score(prompts, answers)] if prompts else [])
    samples = []
    for example, asked in zip(examples, found, strict=True):
        made = _sample(spec, example)
        if asked is None:
            made[missing.MISSING] = "too_long"
        else:
            made["logp"] = [next(logp) for _ in asked.options]
            made["logp_without"] = [next(logp) for _ in asked.options]
            made["option_tokens"] = [len(ids) for ids in asked.options]
            made["persona_kept"], made["persona_trimmed"] = asked.pair.kept, asked.pair.trimmed
            made["prompt_tokens"] = len(asked.pair.factual.ids) + len(asked.pair.counterfactual.ids)
            made["response"] = made["options"][best(option_scores(made, spec.by), made["orders"][0])]
            made["finish_reason"] = "stop"
        samples.append(made)
    return samples


# ---------------------------------------------------------------- replies


def replied(
    task: TaskSpec, spec: ChoiceSpec, examples: Sequence[Example], engine: Engine, *place: int | str
) -> list[ChoiceSample]:
    """Samples by the model's replies, with the persona and without; `place` is that of the batch's seed."""
    shown = [
        (example, replace(example, question=lettered(spec, example, order)))
        for example in examples
        for order in orders_of(spec, example)
    ]
    requests = [_request(task, spec, one, engine) for _, one in shown]
    asked = [messages for one in requests if one is not None for messages in (one.own, one.free)]
    answers = iter(ask(task, engine, asked, task.sampling, seed=derive_seed("choice", *place)))
    by_example: dict[str, list[tuple[Generation, Generation]]] = {}
    kept: dict[str, tuple[int, int]] = {}
    for (example, _), request in zip(shown, requests, strict=True):
        pair = (LEFT_OUT, LEFT_OUT) if request is None else (next(answers), next(answers))
        by_example.setdefault(example.id, []).append(pair)
        kept[example.id] = (0, 0) if request is None else (request.kept, request.trimmed)
    return [
        _with_replies(_sample(spec, example), by_example[example.id], kept[example.id])
        for example in examples
    ]


@dataclass(frozen=True)
class Lettered:
    """The messages of a request with the persona and without it."""

    own: Conversation
    free: Conversation
    kept: int
    trimmed: int


def _request(task: TaskSpec, spec: ChoiceSpec, example: Example, engine: Engine) -> Lettered | None:
    """None if it is too long and the task leaves such requests out. Tokens are counted if the engine exposes
    them, else estimated."""
    turns_between = between(spec, example)
    if "tokens" not in engine.offers:
        own = build_request(task, example, turns_between)
        free = build_request(task, replace(example, persona=()), turns_between)
        return Lettered(own.messages, free.messages, own.kept, own.trimmed)
    try:
        pair = turns(task, example, engine.tokenizer, context=engine.context, between=turns_between)
    except TooLong:
        if task.on_too_long == "fail":
            raise
        return None
    own_, free_ = (chats(one.system, [*one.before, one.user]) for one in (pair.factual, pair.counterfactual))
    return Lettered(own_, free_, pair.kept, pair.trimmed)


def _with_replies(
    made: ChoiceSample, answers: Sequence[tuple[Generation, Generation]], kept: tuple[int, int]
) -> ChoiceSample:
    both = [answer for pair in answers for answer in pair]
    made["replies"] = [own.text for own, _ in answers]
    made["replies_without"] = [free.text for _, free in answers]
    made["persona_kept"], made["persona_trimmed"] = kept
    made["prompt_tokens"] = sum(answer.prompt_tokens for answer in both)
    made["new_tokens"] = sum(answer.new_tokens for answer in both)
    made["response"], made["finish_reason"] = answers[0][0].text, answers[0][0].finish_reason
    reasons = [answer.missing for answer in both if answer.missing is not None]
    if reasons:
        made[missing.MISSING] = reasons[0]
    return made


def _sample(spec: ChoiceSpec, example: Example) -> ChoiceSample:
    made = ChoiceSample(
        id=example.id,
        user=example.user,
        question=example.question,
        reference=example.reference,
        options=list(example.extra["options"]),
        orders=orders_of(spec, example),
        response="",
        finish_reason="too_long",
        persona_kept=0,
        persona_trimmed=0,
        prompt_tokens=0,
        new_tokens=0,
    )
    if spec.rated is None:
        made["gold"] = example.extra["gold"]
        return made
    made["ratings"] = [float(rating) for rating in example.extra["ratings"]]
    if example.extra.get("models"):
        made["models"] = list(example.extra["models"])
    return made
