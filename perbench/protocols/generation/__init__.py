"""Generation: one answer per example, scored against the user's own text (LongLaMP, NextQuill)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from perbench.contracts import adapters, missing
from perbench.contracts.base import Asked, Role
from perbench.contracts.metric import UNIT, Scale, TextMetric
from perbench.contracts.protocol import ANSWERS, EXAMPLES, PROMPTS, Batch, Protocol, Sample
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import decoding_of

from .section import SWAP_METRICS, SWAP_VERSION, PersonaSwapSpec

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.engine import Generation
    from perbench.contracts.independent import Independent
    from perbench.contracts.run import Engines, Scored
    from perbench.contracts.shown import Shown

    from .answers import Chats, Numbered, Prompts


class Keys(Strict):
    persona_swap: PersonaSwapSpec | None = None


class GenerationProtocol(Protocol[Keys]):
    """Samples are `samples.Answer`."""

    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona", "fields", "sampling", "decoding", "metrics"}
    fields = ("user", "question", "reference", "persona")
    trains = True
    prompted = True
    title = "writing"
    audited_as = "likelihood"
    of_answers = (
        *(key for key in ANSWERS if key != "sampling"),
        *(f"sampling.{key}" for key in SamplingSpec.model_fields if key != "end"),
        "decoding",
        "metrics",
        "persona_swap",
    )
    version = 1

    def faults(self) -> Iterator[str]:
        if self.keys.persona_swap is not None and self.spec.persona.whose != "own":
            yield "persona_swap: compares others' personas with the user's own; set persona.whose to own"

    def headlines(self) -> Sequence[str]:
        return [*self.spec.metrics, *(SWAP_METRICS if self.keys.persona_swap is not None else ())]

    def scale(self, metric: str) -> Scale:
        from perbench.metrics import text_metric

        return UNIT if metric in SWAP_METRICS else text_metric(metric).scale

    def row_faults(self, row: Mapping[str, Any], reference: str, items: int) -> Iterator[str]:
        if reference.strip():  # rows without a reference are skipped
            for metric in self._metrics:
                for fault in metric.reference_faults(reference):
                    yield f"field {self.spec.fields.reference!r} {fault}"

    @cached_property
    def _metrics(self) -> Sequence[TextMetric]:
        """One of each file: metrics of one file read a reference alike."""
        classes = dict.fromkeys(self.spec.owned["metric"][name] for name in self.spec.metrics)
        return [cls(self.spec) for cls in classes]

    def signatures(self) -> Mapping[str, str]:
        owned = self.spec.owned["metric"]
        found = {name: owned[name](self.spec).signature(name) for name in self.spec.metrics}
        return {name: signature for name, signature in found.items() if signature}

    def roles(self) -> Sequence[Role]:
        swap = self.keys.persona_swap
        message = (
            "persona_swap.scorer: {model} is {what}, which gives no log-probs of given texts; name a local "
            "model"
        )
        return [] if swap is None else [Role("scorer", swap.scorer, {"score": message})]

    def inputs(self, helpers: Mapping[str, Any]) -> dict[str, Any]:
        found = super().inputs(helpers)
        return {name: {"version": SWAP_VERSION, **section} for name, section in found.items()}

    def unverified(self) -> Iterator[str]:
        return iter(())  # the scorer's log-probs are numbers, not verdicts

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        from perbench.prompts.messages import build_request

        total = Asked()
        for example in examples:
            total += Asked(1, build_request(self.spec, example).tokens, self.spec.sampling.max_new_tokens)
        return {"subject": total}

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        from perbench.prompts.messages import guessed
        from perbench.prompts.pair import build_pairs

        answer = self.spec.sampling.max_new_tokens
        if tokenizer is None:
            return sum(guessed(self.spec, example, answer)[0] for example in examples), False
        swap, total = self.keys.persona_swap, 0
        decoding = decoding_of(self.spec.decoding)
        scored = 2 * swap.others + 2 if swap is not None else 0
        for pair in build_pairs(self.spec, examples, tokenizer, with_response=False, context=None):
            if pair is not None:
                total += decoding.work(pair, answer) + scored * (len(pair.factual) + answer)
        return total, True

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """
        Raises:
            PerbenchError: an example's request alone exceeds max_length.
        """
        from .answers import Chats, Prompts, grouped

        examples = dataset.examples
        asker = Prompts if "tokens" in engines.subject.offers else Chats
        asked = asker(self.spec, dataset, engines.subject, seed)
        # By length, to reduce padding; longest first, so that memory runs out at once or never.
        order = sorted(range(len(asked.lengths)), key=lambda i: (-asked.lengths[i], examples[i].id))
        streamed = isinstance(asked, Prompts) and engines.subject.continuous
        size = max(len(order), 1) if streamed else engines.subject.batch
        make = self._stream if streamed else self._answer
        return [
            Batch(
                [examples[i].id for _, batch in batches for i in batch],
                partial(make, dataset, engines, asked, user, batches),
                streamed,
            )
            for user, batches in grouped(examples, order, size, engines.users, asked.together)
        ]

    def independent(self) -> Independent:
        from .independent import Answers

        return Answers(self.spec)

    def _answer(
        self,
        dataset: Dataset,
        engines: Engines,
        asked: Prompts | Chats,
        user: str | None,
        batches: Sequence[Numbered],
        stored: Mapping[str, Sample],
    ) -> Sequence[Sample]:
        own = () if user is None else (user,)  # a user's samples depend on no other user
        with engines.subject_of(user):
            answers = asked.answers(batches, *own)
        members = [i for _, batch in batches for i in batch]
        return self._samples(dataset, engines, asked, user, dict(zip(members, answers, strict=True)))

    def _stream(
        self,
        dataset: Dataset,
        engines: Engines,
        asked: Prompts | Chats,
        user: str | None,
        batches: Sequence[Numbered],
        stored: Mapping[str, Sample],
    ) -> Iterator[Sample]:
        """As `_answer`, of a continuous engine: each example has its own seed."""
        from .answers import Prompts

        assert isinstance(asked, Prompts)
        members = [i for _, batch in batches for i in batch]
        due = [i for i in members if dataset.examples[i].id not in stored]
        ids = [dataset.examples[i].id for i in due]
        with engines.subject_of(user):
            for i, answer in asked.stream(due, ids):
                yield from self._samples(dataset, engines, asked, user, {i: answer})

    def _samples(
        self,
        dataset: Dataset,
        engines: Engines,
        asked: Prompts | Chats,
        user: str | None,
        answers: Mapping[int, Generation],
    ) -> Sequence[Sample]:
        """The samples of answers, by the places of their examples."""
        from .answers import sample

        members = list(answers)
        samples = [sample(dataset.examples[i], asked.prompts[i], answer) for i, answer in answers.items()]
        adapters.mark(samples, engines.users, user)
        swap = self.keys.persona_swap
        if swap is not None:
            from .swap import swap_logp

            there = [place for place, one in enumerate(samples) if missing.reason(one) is None]
            texts = [(dataset.examples[members[place]], samples[place]["response"]) for place in there]
            found = swap_logp(self.spec, swap.others, texts, dataset.examples, engines.scorer(swap.scorer))
            for place, logp in zip(there, found, strict=True):
                samples[place]["persona_swap"] = logp
        return samples

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        found, (sample,) = super().shown(samples, example), samples
        if sample.get(adapters.OWN, True):
            return found
        return replace(found, notes=(*found.notes, "answered without an adapter of the user's own"))

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        found = super().tokens(samples)
        if self.keys.persona_swap is not None:
            found["scored"] = sum(one["persona_swap"]["tokens"] for one in missing.answered(samples))
        return found

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .scores import score

        return score(self.spec, self.keys.persona_swap, samples)
