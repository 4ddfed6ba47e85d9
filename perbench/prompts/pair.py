"""The prompt pair: the same request with the user's history (factual) and without it (counterfactual)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.lm.context import TooLong
from perbench.prompts.chat import chat_text, cut_answer, encode, encode_answer
from perbench.prompts.persona import affordable, by_priority, persona_messages
from perbench.prompts.talk import Message, dialogue
from perbench.shapes.base import Named
from perbench.shapes.task import PromptSpec, TaskSpec
from perbench.shapes.templates import placeholders


@dataclass(frozen=True)
class PromptPair:
    """Token ids. `response`, with its end-of-turn token, follows either prompt unchanged; it is empty for
    generation. Of the history's `k` items, `factual` holds `kept`; `trimmed` did not fit. `cut`: tokens of
    the response left out. `rejected`: in training examples that are pairs of answers, the one that the user
    liked less, in the form of `response`."""

    factual: tuple[int, ...]
    counterfactual: tuple[int, ...]
    response: tuple[int, ...]
    kept: int
    trimmed: int
    cut: int = 0
    rejected: tuple[int, ...] = ()

    @property
    def sides(self) -> tuple[PromptPair, ...]:
        """One prompt pair per answer: the response's, then the rejected one's, if any."""
        if not self.rejected:
            return (self,)
        return replace(self, rejected=()), replace(self, response=self.rejected, rejected=())

    @property
    def answer_tokens(self) -> int:
        """Of the response and the rejected answer."""
        return len(self.response) + len(self.rejected)


@dataclass(frozen=True)
class ContextTurns:
    """A prompt: its system text, None without one, its last user text, the turns of user and assistant before
    it, and the token ids of all under the model's chat template."""

    system: str | None
    user: str
    ids: tuple[int, ...]
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class TurnPair:
    """The prompts of a `PromptPair`, as text, too."""

    factual: ContextTurns
    counterfactual: ContextTurns
    kept: int
    trimmed: int


def build_pairs(
    task: TaskSpec,
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    with_response: bool,
    context: int | None,
    with_rejected: bool = False,
) -> list[PromptPair | None]:
    """`build_pair` of each example; None for one that is too long, unless the task sets `on_too_long: fail`.

    Raises:
        PerbenchError: as `build_pair`.
    """
    found: list[PromptPair | None] = []
    build = build_answers if with_rejected else partial(build_pair, with_response=with_response)
    for example in examples:
        try:
            found.append(build(task, example, tokenizer, context=context))
        except TooLong:
            if task.on_too_long == "fail":
                raise
            found.append(None)
    return found


def build_pair(
    task: TaskSpec, example: Example, tokenizer: Any, *, with_response: bool, context: int | None = None
) -> PromptPair:
    """The example's prompts under the task's prompt form and the model's chat template.

    Prompt and response together (for generation, prompt and `sampling.max_new_tokens`) take at most
    `task.max_length` tokens, the prompt `task.max_prompt` of them. Only the history is trimmed, by whole
    items, and under `on_too_long: cut` the response. Without any item left, the factual
    prompt equals the counterfactual one.

    Raises:
        TooLong: the example's request and response alone exceed `task.max_length`, or `context`, the model's
            context size.
    """
    whole: tuple[int, ...] = ()
    if with_response:
        whole = tuple(encode_answer(tokenizer, example.reference, end=task.sampling.end))
    response = whole
    if with_response and task.on_too_long == "cut":
        room = _response_room(task, example, tokenizer, context)
        response = cut_answer(tokenizer, whole, room, end=task.sampling.end) or whole
    found = turns(task, example, tokenizer, response if with_response else None, context=context)
    prompts = found.factual.ids, found.counterfactual.ids
    return PromptPair(*prompts, response, found.kept, found.trimmed, len(whole) - len(response))


def build_answers(
    task: TaskSpec, example: Example, tokenizer: Any, *, context: int | None = None
) -> PromptPair:
    """As `build_pair`, with the rejected answer: both follow the same prompts, which leave room for the
    longer one.

    Raises:
        TooLong: as `build_pair`, or the answers are equal where they are cut.
    """
    sides = [
        build_pair(task, replace(example, reference=text), tokenizer, with_response=True, context=context)
        for text in (example.reference, example.rejected)
    ]
    chosen, rejected = sides
    shorter = min(sides, key=lambda side: side.kept)  # an answer's length decides which items fit
    if chosen.response == rejected.response:
        raise TooLong(
            f"example {example.id}: its two answers are equal in the tokens that fit max_length; raise "
            "max_length, or set on_too_long: skip"
        )
    return replace(
        shorter, response=chosen.response, cut=chosen.cut + rejected.cut, rejected=rejected.response
    )


def _response_room(task: TaskSpec, example: Example, tokenizer: Any, context: int | None) -> int:
    """Tokens for the response of an example, beside its request without history."""
    assert task.prompt is not None, "tasks with personas name their prompt"
    request = len(_turns(tokenizer, *without_items(task.prompts[task.prompt], example)).ids)
    room = task.max_length - (task.max_prompt or request)
    return room if context is None else min(room, context - request)


def prompt_room(task: TaskSpec, answer: int) -> int:
    """Tokens for a prompt before an answer of so many."""
    room = task.max_length - answer
    return room if task.max_prompt is None else min(room, task.max_prompt)


def turns(
    task: TaskSpec,
    example: Example,
    tokenizer: Any,
    response: Sequence[int] | None = None,
    *,
    context: int | None = None,
    between: Sequence[Message] = (),
) -> TurnPair:
    """The prompts of `build_pair`: `response` is the answer that follows, None if it is generated. `between`
    are messages after the history and before the user's turn, in both prompts.

    Raises:
        TooLong: as `build_pair`.
    """
    assert task.prompt is not None, "tasks with personas name their prompt"
    form = task.prompts[task.prompt]
    answer = task.sampling.max_new_tokens if response is None else len(response)
    room = prompt_room(task, answer)
    without = _turns(tokenizer, *without_items(form, example, between))
    if fault := _too_long(task, len(without.ids), answer, response is not None, context):
        raise TooLong(f"example {example.id}: {fault}")
    try:
        items = persona_messages(task, form, example.persona)
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None
    order = by_priority(len(items), task.persona)
    factual, kept = _fill(task, form, example, tokenizer, [items[i] for i in order], order, room, between)
    return TurnPair(factual or without, without, kept, len(order) - kept)


def _too_long(task: TaskSpec, request: int, answer: int, given: bool, context: int | None) -> str | None:
    """The fault of a request of so many tokens without history; `given`: the answer is not generated."""
    what = f"response {answer}" if given else f"max_new_tokens {answer}"
    takes, skip = f"the request takes {request} tokens without history", "set on_too_long: skip"
    refused = task.on_too_long == "fail"  # else there is nothing to set
    way_out = f", or {skip}" if refused else ""
    if context is not None and request + answer > context:
        fault = f"{takes}, which with {what} exceeds the model's context of {context}"
        return f"{fault}; {skip}" if refused else fault
    if request + answer > task.max_length:
        return f"{takes}, which with {what} exceeds max_length {task.max_length}; raise max_length{way_out}"
    if task.max_prompt is None:
        return None
    if request > task.max_prompt:
        return f"{takes}, which exceeds max_prompt {task.max_prompt}; raise max_prompt{way_out}"
    if given and answer > task.max_length - task.max_prompt:
        left = f"max_length {task.max_length} less max_prompt {task.max_prompt}"
        cut = " or cut" if refused else ""
        return f"the response takes {answer} tokens, which exceeds {left}; raise max_length{way_out}{cut}"
    return None


def nothing_fits(
    task: Named[TaskSpec],
    examples: Sequence[Example],
    tokenizer: Any,
    *,
    with_response: bool,
    context: int | None,
) -> str:
    """What to say if every example is too long and skipped, with the first one's fault."""
    try:
        build_pair(task.spec, examples[0], tokenizer, with_response=with_response, context=context)
        why = ""
    except TooLong as error:
        why = f": {error}"
    skipped = f"all {len(examples)} examples are too long and skipped (on_too_long: {task.spec.on_too_long})"
    return f"task {task.name}: {skipped}{why}"


def build_prompt(task: TaskSpec, example: Example, tokenizer: Any, persona: Sequence[str]) -> tuple[int, ...]:
    """The prompt before `example.reference` with other, already rendered persona items: those that
    `build_pair` would keep. Given no items, the persona is empty; if none fits, it is the counterfactual
    prompt.

    Raises:
        PerbenchError: the prompt form makes messages of the items.
    """
    assert task.prompt is not None, "tasks with personas name their prompt"
    form = task.prompts[task.prompt]
    if form.messages:
        raise PerbenchError(
            f"prompts.{task.prompt}.messages: the history's items are turns of a dialogue here, not a text "
            "that can be replaced; use a prompt form with {persona}"
        )
    response = len(encode_answer(tokenizer, example.reference, end=task.sampling.end))
    items = [("", item) for item in persona] or [("", "")]
    order = by_priority(len(items), task.persona)
    room = prompt_room(task, response)
    found, _ = _fill(task, form, example, tokenizer, [items[i] for i in order], order, room)
    return (found or _turns(tokenizer, *without_items(form, example))).ids


def _fill(
    task: TaskSpec,
    form: PromptSpec,
    example: Example,
    tokenizer: Any,
    items: list[Message],
    order: list[int],
    room: int,
    between: Sequence[Message] = (),
) -> tuple[ContextTurns | None, int]:
    """The prompt with the longest prefix of `items` (most important first) that fits, and that prefix's
    length; None if no item fits.

    Items are counted one by one; since tokens may merge differently in place, the whole prompt decides.
    """
    if not items:
        return None, 0
    apart = "" if form.messages else form.join
    texts = tokenizer([text + apart for _, text in items], add_special_tokens=False)["input_ids"]
    around = _around(tokenizer) if form.messages else 0
    costs = [len(ids) + around for ids in texts]
    frame = len(_turns(tokenizer, *with_items(form, example, [], between)).ids)
    kept = affordable(costs, room - frame)
    if task.persona.max_tokens is not None:
        kept = min(kept, affordable(costs, task.persona.max_tokens))
    while kept:
        standing = [item for _, item in sorted(zip(order[:kept], items[:kept], strict=True))]
        found = _turns(tokenizer, *with_items(form, example, standing, between))
        if len(found.ids) <= room:
            return found, kept
        kept -= 1
    return None, 0


def _around(tokenizer: Any) -> int:
    """Tokens that the chat template puts around a message, rounded up."""
    one, three = (len(_turns(tokenizer, None, ["x"] * count).ids) for count in (1, 3))
    return max(0, (three - one + 1) // 2 - 1)


def _turns(tokenizer: Any, system: str | None, turns: Sequence[str]) -> ContextTurns:
    *before, user = turns
    ids = tuple(encode(tokenizer, chat_text(tokenizer, system, turns)))
    return ContextTurns(system, user, ids, tuple(before))


def with_items(
    form: PromptSpec, example: Example, items: Sequence[Message], between: Sequence[Message] = ()
) -> tuple[str | None, list[str]]:
    """The system text and the turns of the prompt with these items of the persona, rendered, in its order."""
    text = "" if form.messages else form.join.join(text for _, text in items)
    before = [*items, *between] if form.messages else between
    return _request(*turns_with(form, example, text), before)


def without_items(
    form: PromptSpec, example: Example, between: Sequence[Message] = ()
) -> tuple[str | None, list[str]]:
    """As `with_items`, without the persona."""
    return _request(*turns_without(form, example), between)


def _request(system: str | None, user: str, before: Sequence[Message]) -> tuple[str | None, list[str]]:
    if not before:
        return system, [user]
    start = [] if system is None else [("system", system)]
    return dialogue([*start, *before, ("user", user)])


def turns_with(form: PromptSpec, example: Example, persona: str) -> tuple[str | None, str]:
    """The system turn (None without one) and the user turn, with the joined items of the persona."""
    values = {**_values(form, example), "persona": persona}
    return None if form.system is None else form.system.format_map(values), form.user.format_map(values)


def turns_without(form: PromptSpec, example: Example) -> tuple[str | None, str]:
    """As `turns_with`, without the persona."""
    system = form.system_without
    if system is None and form.system is not None and "persona" not in placeholders(form.system):
        system = form.system
    user = form.user if form.user_without is None else form.user_without
    values = _values(form, example)
    return None if system is None else system.format_map(values), user.format_map(values)


def _values(form: PromptSpec, example: Example) -> dict[str, Any]:
    """Values of a form's placeholders besides {persona}; null becomes empty."""
    values = {name: "" if value is None else value for name, value in example.extra.items()}
    values["question"] = example.question
    if form.split_after is not None:
        start, marker, values["after"] = example.question.partition(form.split_after)
        values["before"] = start + marker
    return values
