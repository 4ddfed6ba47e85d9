"""Preference following (PrefEval, arXiv 2502.09597, zero-shot).

The user states a preference and the model replies, or a conversation reveals it; unrelated exchanges follow,
and the user asks a question that a generic answer would get wrong. A judge checks the answer four times, yes
or no.

As in PrefEval, accurate = helpful and not violating, and hallucinates counts only if the answer acknowledges
a preference. PrefEval's hallucination check reads the sentence quoted by its acknowledgement check; ours
reads the whole answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from perbench.contracts.base import Asked, Inputs
from perbench.contracts.protocol import EXAMPLES, Batch, Sample
from perbench.judges.protocol import JudgedProtocol
from perbench.shapes.base import Strict

from .section import HOLDS, PreferenceSpec

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.engine import Generation
    from perbench.contracts.run import Engines, Scored
    from perbench.contracts.shown import Shown

OFFICIAL = "official"
"""Value of a row's `turns_from` if its exchanges are the benchmark's own."""
LEFT_OUT = "the prompt may also have held exchanges on other subjects"


class Keys(Strict):
    preference: PreferenceSpec


class Preference(JudgedProtocol[Keys]):
    """Samples are `samples.Judged`."""

    Keys = Keys
    reads = EXAMPLES | {"sampling"}
    fields = ("user", "question")
    extra = ("preference",)
    holds = HOLDS
    titles = MappingProxyType({"accurate": "accuracy"})
    version = 1

    def idle(self) -> dict[str, str]:
        judge = self.keys.preference.judge
        whole = judge.rubric is not None and len(judge.given) == len(judge.rubric.ask)
        where = "if all its requests are given"
        return super().idle() | ({"preference.judge.rubric": where} if whole else {})

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        found = super().inputs(helpers)
        rubric = self.judge.asked
        found["preference"]["judge"] |= rubric.ask
        if rubric.answer != "yes_no":
            found["preference"]["judge"]["answer"] = rubric.answer
        return found

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        from perbench.prompts.messages import estimated

        spec, answer = self.keys.preference, self.spec.sampling.max_new_tokens
        subject, judge = Asked(), Asked()
        for example in examples:
            stated = estimated(str(example.extra.get("preference")))
            asked = estimated(example.question)
            turns = (example.extra.get("turns") or [])[: spec.turns]
            between = sum(estimated(str(turn)) for turn in turns)
            if spec.opening == "stated":
                subject += Asked(1, stated, answer) + Asked(1, stated + answer + between + asked, answer)
            else:
                said = sum(estimated(str(item.get("text"))) for item in example.persona)
                subject += Asked(1, said + between + asked, answer)
            judge += self.questions(stated + asked + answer)
        return {"subject": subject, "judge": judge}

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """
        Raises:
            PerbenchError: a row has no preference, or too few exchanges.
        """
        from perbench.contracts.run import chunks

        from .talk import opening

        spec = self.keys.preference
        examples = sorted(dataset.examples, key=lambda example: example.id)
        openings = {example.id: opening(spec, example) for example in examples}
        size = max(engines.subject.batch, engines.named(spec.judge.model).batch)
        return [
            Batch(
                [example.id for example in batch], partial(self._ask, engines, seed, number, batch, openings)
            )
            for number, batch in enumerate(chunks(examples, size))
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

        from .talk import conversation, sample

        spec, sampling = self.keys.preference, self.spec.sampling
        place = 0 if engines.subject.alone else number
        seeds = {role: derive_seed("preference", role, seed, place) for role in ("first", "answer", "judge")}
        openers = [openings[example.id] for example in batch]
        subject = engines.subject
        first: list[Generation | None] = [None] * len(batch)
        if spec.opening == "stated":
            first = [*ask(self.spec, subject, openers, sampling, seed=seeds["first"])]
        replies = [(i, reply) for i, reply in enumerate(first) if reply is None or reply.missing is None]
        went_on = [i for i, _ in replies]
        asked = [
            conversation(spec, batch[i], openers[i], None if reply is None else reply.text)
            for i, reply in replies
        ]
        found = ask(self.spec, subject, asked, sampling, seed=seeds["answer"])
        answers = dict(zip(went_on, found, strict=True))
        rows = [
            {
                "preference": example.extra["preference"],
                "question": example.question,
                "response": answers[i].text,
            }
            if i in answers and answers[i].missing is None
            else None
            for i, example in enumerate(batch)
        ]
        verdicts = self.judged(engines, rows, seed=seeds["judge"])
        return [sample(example, first[i], answers.get(i), verdicts[i]) for i, example in enumerate(batch)]

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        from .talk import asked

        (sample,) = samples
        spec = self.keys.preference if self.spec is not None else None
        found = super().shown(samples, example)
        left_out = () if example or (spec and not spec.turns) else (LEFT_OUT,)
        return replace(
            found,
            persona=(sample["preference"],),
            prompt=asked(spec, sample, example),
            notes=(*found.notes, *left_out),
        )

    def score(self, samples: Sequence[Sample]) -> Scored:
        turns, notes = self.keys.preference.turns, []
        writers = sorted({str(sample["turns_from"]) for sample in samples if sample.get("turns_from")})
        tail = f"|turns:{turns}"
        if self.keys.preference.opening != "stated":
            tail += f"|opening:{self.keys.preference.opening}"
        if turns and writers:
            tail += f"|turns_from:{','.join(writers)}"
        if turns and set(writers) - {OFFICIAL}:
            by = ", ".join(writers)
            notes.append(f"the exchanges between preference and question are not the benchmark's own: {by}")
        return self.scored(samples, tail, notes)
