"""Builds the prompts of examples and generates their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perbench.contracts import missing
from perbench.contracts.engine import LEFT_OUT, Generation
from perbench.contracts.run import ask, chunks
from perbench.prompts.messages import ChatRequest, build_request
from perbench.prompts.pair import PromptPair, build_pairs
from perbench.seeds import derive_seed
from perbench.specs.compose import decoding_of

from .samples import Answer

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.engine import Engine
    from perbench.shapes.task import TaskSpec


def grouped(
    examples: Sequence[Example], order: Sequence[int], size: int, users: Mapping[str, Path] | None
) -> list[tuple[str | None, int, Sequence[int]]]:
    """(user of the adapter, batch number within the user, indices); None, for no adapter, comes first."""
    groups: dict[str | None, list[int]] = {}
    for index in order:
        user = examples[index].user
        groups.setdefault(user if user in (users or {}) else None, []).append(index)
    return [
        (user, number, batch)
        for user in sorted(groups, key=lambda user: (user is not None, user or ""))
        for number, batch in enumerate(chunks(groups[user], size))
    ]


class Prompts:
    """Prompts as token ids."""

    def __init__(self, task: TaskSpec, dataset: Dataset, engine: Engine, seed: int) -> None:
        pairs = build_pairs(
            task, dataset.examples, engine.tokenizer, with_response=False, context=engine.context
        )
        self._skipped = {i for i, pair in enumerate(pairs) if pair is None}
        self.prompts = [PromptPair((), (), (), 0, 0) if pair is None else pair for pair in pairs]
        self.lengths = [len(prompt.factual) for prompt in self.prompts]
        self._task, self._engine, self._seed = task, engine, seed

    def answers(self, batch: Sequence[int], *place: str | int) -> list[Generation]:
        asked = [i for i in batch if i not in self._skipped]
        found = dict(zip(asked, self._answers(asked, *place), strict=True)) if asked else {}
        return [found.get(i, LEFT_OUT) for i in batch]

    def _answers(self, batch: Sequence[int], *place: str | int) -> list[Generation]:
        prompts = [self.prompts[i] for i in batch]
        seed = derive_seed("generation", self._seed, *place)
        return decoding_of(self._task.decoding).decode(self._engine, prompts, self._task.sampling, seed=seed)


class Chats:
    """Prompts as messages, for an engine that does not expose tokens."""

    def __init__(self, task: TaskSpec, dataset: Dataset, engine: Engine, seed: int) -> None:
        self.prompts = [build_request(task, example) for example in dataset.examples]
        self.lengths = [prompt.tokens for prompt in self.prompts]
        self._task, self._engine, self._seed = task, engine, seed

    def answers(self, batch: Sequence[int], *place: str | int) -> list[Generation]:
        messages = [self.prompts[i].messages for i in batch]
        seed = derive_seed("generation", self._seed, *(() if self._engine.alone else place))
        return ask(self._task, self._engine, messages, self._task.sampling, seed=seed)


def sample(example: Example, prompt: PromptPair | ChatRequest, answer: Generation) -> Answer:
    made = Answer(
        id=example.id,
        user=example.user,
        question=example.question,
        reference=example.reference,
        response=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        new_tokens=answer.new_tokens,
        persona_kept=prompt.kept,
        persona_trimmed=prompt.trimmed,
    )
    if answer.missing is not None:
        made[missing.MISSING] = answer.missing
    return made
