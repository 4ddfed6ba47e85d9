"""A protocol's own conversations with lm-eval's model.

lm-eval asks all requests at once, so replies that answer each other cannot be its requests. The conversations
are held before it asks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from perbench.contracts.data import Dataset, Example
from perbench.contracts.engine import LEFT_OUT, Conversation, Engine, Generation, Seeds
from perbench.errors import PerbenchError
from perbench.harness.asking import Asker, options
from perbench.harness.tasks import TAG, sampled
from perbench.lm.context import TooLong
from perbench.matrix.engines import open_model
from perbench.prompts.chat import encode
from perbench.prompts.messages import estimated
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of
from perbench.specs.load import load_model


class Memory:
    """Samples of this process."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def samples(self) -> Sequence[Mapping[str, Any]]:
        return list(self.rows)

    def append(self, samples: Sequence[Mapping[str, Any]]) -> None:
        self.rows += samples

    def arrange(self, ids: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(ids)}
        self.rows.sort(key=lambda row: places[row["id"]])


class LmEvalEngine(Engine):
    """Any model of lm-eval that generates, as the engine under evaluation. With a tokenizer, dialogues are
    fitted into the task's max_length as for perbench's own engines."""

    def __init__(self, asker: Asker, given: Mapping[str, Any]) -> None:
        self.name = "lm_eval"
        self.offers = frozenset({"chat", "tokens"} if asker.tokenizer is not None else {"chat"})
        self._asker, self._given = asker, given

    @property
    def context(self) -> int | None:
        return self._asker.context

    @property
    def tokenizer(self) -> Any:
        return self._asker.tokenizer

    def chat(
        self,
        conversations: Sequence[Conversation],
        sampling: SamplingSpec,
        *,
        seed: Seeds,
        skip: bool = False,
    ) -> list[Generation]:
        from lm_eval.api.instance import Instance

        found: dict[int, Generation] = {}
        asked: dict[int, Any] = {}
        given = {**sampled(sampling), **self._given}
        for number, talk in enumerate(conversations):
            system = talk[0]["content"] if talk[0]["role"] == "system" else None
            prompt = self._asker.rendered(system, [one["content"] for one in talk[system is not None :]])
            try:
                self._asker.check_length(prompt, given["max_gen_toks"])
            except PerbenchError as error:
                if not skip:
                    raise TooLong(str(error)) from None
                found[number] = LEFT_OUT
                continue
            asked[number] = prompt
        chosen = options(self._asker, given, sampling)
        requests = [
            Instance("generate_until", {}, (prompt, {**chosen}), number, metadata=(TAG, number, 1))
            for number, prompt in asked.items()
        ]
        with _seeded(seed if isinstance(seed, int) else seed[0]):
            texts = self._asker.lm.generate_until(requests, disable_tqdm=True) if requests else []
        for (number, prompt), text in zip(asked.items(), texts, strict=True):
            read, new = self._count(str(prompt)), self._count(text)
            reason = "length" if new >= given["max_gen_toks"] else "stop"
            found[number] = Generation(text, reason, read, new)
        return [found[number] for number in range(len(conversations))]

    def _count(self, text: str) -> int:
        return estimated(text) if self.tokenizer is None else len(encode(self.tokenizer, text))


class _Engines:
    users = None

    def __init__(self, subject: Engine) -> None:
        self.subject = subject
        self._named: dict[str, Engine] = {}

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Engine]:
        yield self.subject

    def named(self, model: str) -> Engine:
        if model not in self._named:
            self._named[model] = open_model(load_model(model))
        return self._named[model]

    def scorer(self, model: str | None) -> Engine:
        if model is None:
            raise PerbenchError("lm-eval's model gives no log-probs to a conversation; name a scorer")
        return self.named(model)

    @property
    def untrained(self) -> bool:
        return False

    def base_logp(self, prompts: Sequence[Any], responses: Sequence[Any]) -> list[Any]:
        raise PerbenchError("lm-eval's model gives no log-probs to a conversation")


def held(
    task: Named[TaskSpec], examples: Sequence[Example], asker: Asker, given: Mapping[str, Any]
) -> dict[str, list[Mapping[str, Any]]]:
    """The samples of each example.

    Args:
        given: lm-eval's generation options that the user changed.
    """
    owner, data, store = owner_of(task.spec), Dataset(list(examples), ""), Memory()
    engines = _Engines(LmEvalEngine(asker, given))
    owner.run(data, engines, store, planned=owner.sample_ids(data), seed=0, tick=lambda *_: None)
    found: dict[str, list[Mapping[str, Any]]] = {example.id: [] for example in examples}
    for sample in store.rows:
        found[owner.example_of(sample["id"])].append(sample)
    return found


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds what a model in this process draws."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
