"""Preference following (PrefEval, arXiv 2502.09597, explicit form, zero-shot).

The user states a preference, the model replies, exchanges about other things follow, and the user asks a
question that a generic answer would get wrong. A judge checks the answer four times, yes or no.

accurate = helpful and not violating, as PrefEval's own accuracy comes out; hallucinates counts only where the
answer acknowledges a preference, as there. PrefEval hands its hallucination check the sentence that its
acknowledgement check quoted; ours reads the whole answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from perbench.contracts.base import Asked, Role
from perbench.contracts.metric import UNIT, Scale
from perbench.contracts.protocol import EXAMPLES, Batch, Protocol, Sample
from perbench.shapes.base import Strict

from .section import CHECKS, PREFERENCE_METRICS, PreferenceSpec

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.run import Engines, Scored
    from perbench.data import Dataset


class Keys(Strict):
    preference: PreferenceSpec


class Preference(Protocol[Keys]):
    """Samples are `samples.Judged`."""

    Keys = Keys
    reads = EXAMPLES | {"sampling"}
    fields = ("user", "question")
    extra = ("preference",)
    version = 1

    def headlines(self) -> Sequence[str]:
        return PREFERENCE_METRICS

    def scale(self, metric: str) -> Scale:
        return UNIT if metric in ("accurate", "acknowledges", "helpful") else Scale("lower", UNIT.bounds)

    def idle(self) -> dict[str, str]:
        if self.keys.preference.judge.method != "likeliest":
            return {}
        return {"preference.judge.max_new_tokens": "under preference.judge.method likeliest"}

    def roles(self) -> Sequence[Role]:
        judge = self.keys.preference.judge
        told = (
            "the model {model} of preference.judge is {what}, which gives no log-probs. Set "
            "preference.judge.method: reply; or name a model whose weights are on this machine"
        )
        return [Role("judge", judge.model, {"score": told} if judge.method == "likeliest" else {})]

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        from perbench.prompts.messages import estimated

        spec, answer = self.keys.preference, self.spec.sampling.max_new_tokens
        subject, judge = Asked(), Asked()
        for example in examples:
            stated = estimated(str(example.extra.get("preference")))
            asked = estimated(example.question)
            turns = (example.extra.get("turns") or [])[: spec.turns]
            between = sum(estimated(str(turn)) for turn in turns)
            subject += Asked(1, stated, answer) + Asked(1, stated + answer + between + asked, answer)
            for check in CHECKS:
                read = estimated(getattr(spec.judge, check)) + stated + asked + answer
                judge += Asked(1, read, spec.judge.max_new_tokens)
        return {"subject": subject, "judge": judge}

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """
        Raises:
            PerbenchError: a row without preference, or with too few exchanges.
        """
        from perbench.contracts.run import BATCH, ENDPOINT_BATCH, chunks

        from .talk import opening

        spec = self.keys.preference
        examples = sorted(dataset.examples, key=lambda example: example.id)
        openings = {example.id: opening(spec, example) for example in examples}
        paid = engines.subject.chat_only or engines.named(spec.judge.model).chat_only
        return [
            Batch(
                [example.id for example in batch], partial(self._ask, engines, seed, number, batch, openings)
            )
            for number, batch in enumerate(chunks(examples, ENDPOINT_BATCH if paid else BATCH))
        ]

    def _ask(
        self,
        engines: Engines,
        seed: int,
        number: int,
        batch: Sequence[Example],
        openings: Mapping[str, list[dict[str, str]]],
        stored: Mapping[str, Sample],
    ) -> Sequence[Sample]:
        from perbench.contracts.run import ask
        from perbench.seeds import derive_seed

        from .talk import conversation, judged, sample

        spec, sampling = self.keys.preference, self.spec.sampling
        # Requests to an endpoint stand alone: whatever batch they are in, the cache shall know them again.
        place = 0 if engines.subject.chat_only else number
        seeds = {role: derive_seed("preference", role, seed, place) for role in ("first", "answer")}
        told = [openings[example.id] for example in batch]
        subject = engines.subject
        first = ask(self.spec, subject, told, sampling, seed=seeds["first"])
        went_on = [i for i, reply in enumerate(first) if reply.missing is None]
        asked = [conversation(spec, batch[i], told[i], first[i].text) for i in went_on]
        found = ask(self.spec, subject, asked, sampling, seed=seeds["answer"])
        answers = dict(zip(went_on, found, strict=True))
        there = [i for i in went_on if answers[i].missing is None]
        texts = [answers[i].text for i in there]
        verdicts = judged(spec, engines.named(spec.judge.model), [batch[i] for i in there], texts)
        checks = dict(zip(there, verdicts, strict=True))
        return [
            sample(example, first[i], answers.get(i), checks.get(i, {})) for i, example in enumerate(batch)
        ]

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        judge = ("judge_prompt", "judge_generated")
        return super().tokens(samples) | {n: sum(sample["overhead"][n] for sample in samples) for n in judge}

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .scores import score

        return score(self.keys.preference, samples)
