"""Builds a task's request as chat messages, for an endpoint, which exposes no tokens."""

from __future__ import annotations

from dataclasses import dataclass

from perbench.api import Example
from perbench.contracts.engine import Conversation
from perbench.errors import PerbenchError
from perbench.prompts.pair import prompt_room, turns_with, turns_without
from perbench.prompts.persona import affordable, by_priority, persona_texts
from perbench.shapes.task import TaskSpec

CHARS_PER_TOKEN = 4
"""For English text under current vocabularies; used only if tokens cannot be counted."""


@dataclass(frozen=True)
class ChatRequest:
    """Of the history's `k` items, the messages hold `kept`; `trimmed` did not fit."""

    messages: Conversation
    kept: int
    trimmed: int

    @property
    def tokens(self) -> int:
        """Estimated tokens of the messages."""
        return sum(estimated(message["content"]) for message in self.messages)


def build_request(task: TaskSpec, example: Example) -> ChatRequest:
    """The example's request with persona under the task's prompt form, trimmed as in `pair.build_pair`, but
    with tokens estimated from characters. A request that is too long alone is left to the server to refuse.

    Raises:
        PerbenchError: the prompt form names a field that a persona item lacks.
    """
    assert task.prompt is not None, "tasks with personas name their prompt"
    form = task.prompts[task.prompt]
    try:
        rendered = persona_texts(task, form, example.persona)
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None
    order = by_priority(len(rendered), task.persona)
    costs = [estimated(rendered[i] + form.join) for i in order]
    room = prompt_room(task, task.sampling.max_new_tokens)
    room -= sum(estimated(turn) for turn in turns_with(form, example, "") if turn is not None)
    kept = affordable(costs, min(room, task.persona.max_tokens or room))
    persona = form.join.join(rendered[i] for i in sorted(order[:kept]))
    system, user = turns_with(form, example, persona) if kept else turns_without(form, example)
    messages = [] if system is None else [{"role": "system", "content": system}]
    return ChatRequest([*messages, {"role": "user", "content": user}], kept, len(order) - kept)


def guessed(task: TaskSpec, example: Example, answer: int | None) -> tuple[int, int]:
    """Estimated tokens of an example with and without its persona, answer included; `answer` is None if the
    reference is the answer."""
    items = example.persona[: task.persona.k]
    persona = _length(*(str(value) for item in items for value in item.values()))
    question, answer = _length(example.question), _length(example.reference) if answer is None else answer
    prompt = question + min(persona, task.persona.max_tokens or persona)
    prompt = min(prompt, task.max_prompt or prompt)
    return min(prompt + answer, task.max_length), question + answer


def _length(*texts: str) -> int:
    return sum(map(len, texts)) // CHARS_PER_TOKEN


def estimated(text: str) -> int:
    """Estimated tokens of a text, rounded up."""
    return -(-len(text) // CHARS_PER_TOKEN)
