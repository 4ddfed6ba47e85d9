"""Makes the samples: log-probs of the users' own texts under their own persona, none, and other users'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from perbench.contracts import adapters, missing
from perbench.contracts.resume import Batch, Sample
from perbench.contracts.run import chunks
from perbench.persona.others import others
from perbench.prompts.chat import decode_response, encode_response
from perbench.prompts.pair import PromptPair, build_pair, build_pairs

from .samples import Likelihood
from .section import PERSONAL

if TYPE_CHECKING:
    import numpy as np

    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines
    from perbench.shapes.task import TaskSpec

BATCH = 64
"""Examples scored together: prompts that begin with the same persona are read once. Of 120 examples with 4
other users, 32 together read a fifth more tokens than 64."""
DIGITS = 5
"""Decimals of stored log-probs."""

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Text:
    """An example's text, and the prompts with and without the user's own persona."""

    example: Example
    pair: PromptPair
    ids: Ids


@dataclass(frozen=True)
class Others:
    """Other users whose personas fit, the prompts with these, and how many were left out."""

    users: list[str]
    prompts: list[Ids]
    left_out: int


class TextScoring:
    """One evaluation. `texts`: None for an example that is too long."""

    def __init__(self, spec: TaskSpec, count: int, dataset: Dataset, engines: Engines) -> None:
        self._spec, self._count, self._engines = spec, count, engines
        self._examples = dataset.examples
        self._order = sorted(dataset.examples, key=lambda one: (one.user, one.id))
        subject = engines.subject
        pairs = build_pairs(
            spec, dataset.examples, subject.tokenizer, with_response=True, context=subject.context
        )
        self.texts = {
            example.id: None if pair is None else text_of(example, pair, subject.tokenizer)
            for example, pair in zip(dataset.examples, pairs, strict=True)
        }
        self._base: dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}

    def batches(self) -> list[Batch]:
        """Examples of one user follow each other, since their prompts begin alike. Users without an adapter
        of their own come first."""
        adapted = self._engines.users or {}
        groups: dict[str | None, list[Example]] = {}
        for example in self._order:
            groups.setdefault(example.user if example.user in adapted else None, []).append(example)
        return [
            Batch([example.id for example in batch], partial(self._make, user, batch))
            for user in sorted(groups, key=lambda user: (user is not None, user or ""))
            for batch in chunks(groups[user], BATCH)
        ]

    def _make(
        self, user: str | None, batch: Sequence[Example], stored: Mapping[str, Sample]
    ) -> list[Likelihood]:
        texts = [text for example in batch if (text := self.texts[example.id]) is not None]
        self._read_base(texts)
        tried = [self._others(text) for text in texts]
        untrained = self._engines.untrained
        prompts: list[Ids] = []
        answers: list[Ids] = []
        for text, them in zip(texts, tried, strict=True):
            asked = [] if untrained else [text.pair.factual, text.pair.counterfactual]
            asked += them.prompts
            prompts += asked
            answers += [text.ids] * len(asked)
        with self._engines.subject_of(user) as subject:
            logp = iter(subject.score(prompts, answers))
        made: dict[str, Likelihood] = {}
        for text, them in zip(texts, tried, strict=True):
            base = self._base[text.example.id]
            own, none = base if untrained else (next(logp), next(logp))
            personal = [int(place) for place in (base[0] - base[1] > PERSONAL).nonzero()[0]]
            other = [next(logp) for _ in them.users]
            made[text.example.id] = self._sample(text, own, none, them, other, personal)
        samples = [made.get(example.id) or skipped(example) for example in batch]
        adapters.mark(samples, self._engines.users, user)
        return samples

    def _read_base(self, texts: Sequence[Text]) -> None:
        """The log-probs of the model before training decide which tokens are personal. A trained one gives
        way to it for as long, so all that is needed is read at once."""
        if not self._engines.untrained:
            texts = [text for one in self._order if (text := self.texts[one.id]) is not None]
        due = [text for text in texts if text.example.id not in self._base]
        prompts = [prompt for text in due for prompt in (text.pair.factual, text.pair.counterfactual)]
        logp = iter(self._engines.base_logp(prompts, [text.ids for text in due for _ in range(2)]))
        self._base |= {text.example.id: (next(logp), next(logp)) for text in due}

    def _others(self, text: Text) -> Others:
        """A prompt without any fitting item would compare a persona with none: that user is left out. If it
        is the example's own persona that does not fit, all are."""
        chosen = others(text.example, self._examples, self._count)
        if not (text.pair.kept and text.ids):
            return Others([], [], len(chosen))
        subject = self._engines.subject
        pairs = [
            build_pair(
                self._spec,
                replace(text.example, persona=other.persona),
                subject.tokenizer,
                with_response=True,
                context=subject.context,  # it may cut the text, which decides the persona's room
            )
            for other in chosen
        ]
        users = [other.user for other, pair in zip(chosen, pairs, strict=True) if pair.kept]
        return Others(users, [pair.factual for pair in pairs if pair.kept], len(chosen) - len(users))

    def _sample(
        self,
        text: Text,
        own: np.ndarray[Any, Any],
        none: np.ndarray[Any, Any],
        them: Others,
        other: Sequence[np.ndarray[Any, Any]],
        personal: list[int],
    ) -> Likelihood:
        example, pair = text.example, text.pair
        cut = pair.cut and decode_response(self._engines.subject.tokenizer, text.ids)
        prompts = [pair.factual, pair.counterfactual, *them.prompts]
        return Likelihood(
            id=example.id,
            user=example.user,
            question=example.question,
            reference=example.reference,
            own=stored_logp(own),
            none=stored_logp(none),
            others=them.users,
            other=[stored_logp(one) for one in other],
            left_out=them.left_out,
            personal=personal,
            characters=len(cut or example.reference),
            cut=pair.cut,
            prompt_tokens=sum(map(len, prompts)),
            persona_kept=pair.kept,
            persona_trimmed=pair.trimmed,
        )


def text_of(example: Example, pair: PromptPair, tokenizer: Any) -> Text:
    """Without the end of turn: how a text ends says little about who wrote it, and templates differ in it."""
    ids = encode_response(tokenizer, example.reference)
    return Text(example, pair, tuple(ids[: len(ids) - pair.cut]))


def stored_logp(logp: np.ndarray[Any, Any]) -> list[float]:
    return [round(value, DIGITS) for value in logp.tolist()]


def skipped(example: Example) -> Likelihood:
    """The sample of an example that is too long."""
    return Likelihood(
        id=example.id,
        user=example.user,
        question=example.question,
        reference=example.reference,
        own=[],
        none=[],
        others=[],
        other=[],
        left_out=0,
        personal=[],
        characters=0,
        cut=0,
        prompt_tokens=0,
        persona_kept=0,
        persona_trimmed=0,
        missing=missing.TOO_LONG,
    )
