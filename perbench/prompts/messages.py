"""Builds a task's request as chat messages, for an endpoint, which exposes no tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perbench.api import Example
from perbench.contracts.engine import Conversation
from perbench.errors import PerbenchError
from perbench.prompts.pair import prompt_room, with_items, without_items
from perbench.prompts.persona import affordable, by_priority, persona_messages
from perbench.prompts.talk import Message, chats
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


def build_request(task: TaskSpec, example: Example, between: Sequence[Message] = ()) -> ChatRequest:
    """The example's request with persona under the task's prompt form, trimmed as in `pair.turns`, but with
    tokens estimated from characters. A request that is too long alone is left to the server to refuse.

    Raises:
        PerbenchError: the prompt form names a field that a persona item lacks.
    """
    assert task.prompt is not None, "tasks with personas name their prompt"
    form = task.prompts[task.prompt]
    try:
        rendered = persona_messages(task, form, example.persona)
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None
    order = by_priority(len(rendered), task.persona)
    costs = [estimated(rendered[i][1] + form.join) for i in order]
    frame = chats(*with_items(form, example, [], between))
    room = prompt_room(task, task.sampling.max_new_tokens)
    room -= sum(estimated(message["content"]) for message in frame)
    kept = affordable(costs, min(room, task.persona.max_tokens or room))
    items = [rendered[i] for i in sorted(order[:kept])]
    messages = chats(
        *(with_items(form, example, items, between) if kept else without_items(form, example, between))
    )
    return ChatRequest(messages, kept, len(order) - kept)


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
