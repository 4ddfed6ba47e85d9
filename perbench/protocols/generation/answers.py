"""Builds the prompts of examples and generates their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


Numbered = tuple[int, Sequence[int]]
"""A batch: its number among its user's, and the indices of its examples."""


def grouped(
    examples: Sequence[Example],
    order: Sequence[int],
    size: int,
    users: Mapping[str, Path] | None,
    together: int,
) -> list[tuple[str | None, Sequence[Numbered]]]:
    """(user of the adapter, batches of `size`, at most `together` of them); None, for no adapter, comes
    first."""
    groups: dict[str | None, list[int]] = {}
    for index in order:
        user = examples[index].user
        groups.setdefault(user if user in (users or {}) else None, []).append(index)
    return [
        (user, some)
        for user in sorted(groups, key=lambda user: (user is not None, user or ""))
        for some in chunks(list(enumerate(chunks(groups[user], size))), together)
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

    @property
    def together(self) -> int:
        """Batches per call of `answers`."""
        return self._engine.together if decoding_of(self._task.decoding).together else 1

    def answers(self, batches: Sequence[Numbered], *place: str) -> list[Generation]:
        """Of all examples of the batches, in order; every batch has its own seed, from `place` and number."""
        seeds = {number: derive_seed("generation", self._seed, *place, number) for number, _ in batches}
        asked = [(i, seeds[number]) for number, batch in batches for i in batch if i not in self._skipped]
        found: dict[int, Generation] = {}
        if asked:
            prompts = [self.prompts[i] for i, _ in asked]
            seed = [seed for _, seed in asked] if len(batches) > 1 else asked[0][1]
            decoding, sampling = decoding_of(self._task.decoding), self._task.sampling
            answers = decoding.decode(self._engine, prompts, sampling, seed=seed)
            found = {i: answer for (i, _), answer in zip(asked, answers, strict=True)}
        return [found.get(i, LEFT_OUT) for _, batch in batches for i in batch]

    def stream(self, places: Sequence[int], ids: Sequence[str]) -> Iterator[tuple[int, Generation]]:
        """The answers to the examples at `places`, which have these ids, as they finish."""
        seeds = {i: derive_seed("generation", self._seed, name) for i, name in zip(places, ids, strict=True)}
        yield from ((i, LEFT_OUT) for i in places if i in self._skipped)
        asked = [i for i in places if i not in self._skipped]
        found = decoding_of(self._task.decoding).stream(
            self._engine,
            [self.prompts[i] for i in asked],
            self._task.sampling,
            seeds=[seeds[i] for i in asked],
        )
        yield from ((asked[place], answer) for place, answer in found)


class Chats:
    """Prompts as messages, for an engine that does not expose tokens."""

    def __init__(self, task: TaskSpec, dataset: Dataset, engine: Engine, seed: int) -> None:
        self.prompts = [build_request(task, example) for example in dataset.examples]
        self.lengths = [prompt.tokens for prompt in self.prompts]
        self._task, self._engine, self._seed = task, engine, seed

    together = 1

    def answers(self, batches: Sequence[Numbered], *place: str) -> list[Generation]:
        ((number, batch),) = batches
        messages = [self.prompts[i].messages for i in batch]
        own: tuple[str | int, ...] = () if self._engine.alone else (*place, number)
        seed = derive_seed("generation", self._seed, *own)
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
