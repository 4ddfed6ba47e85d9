"""Choice: pick one of several given answers, or rank answers that a user has rated.

An option is picked by its log-prob as the model's answer, or by the model's own reply to lettered options.
Beside it stand chance, the same pick without the persona, and picks that read nothing but the options'
lengths or order: where those do well, the task can be solved without knowing the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from perbench.contracts import adapters
from perbench.contracts.base import Asked, Role
from perbench.contracts.data import Offered
from perbench.contracts.metric import Scale
from perbench.contracts.protocol import ANSWERS, EXAMPLES, PROMPTS, Batch, Beside, Protocol, Sample
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec

from .section import ChoiceSpec

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines, Scored
    from perbench.contracts.shown import Shown

SAMPLED = tuple(f"sampling.{key}" for key in SamplingSpec.model_fields if key != "end")


class Keys(Strict):
    choice: ChoiceSpec


class ChoiceProtocol(Protocol[Keys]):
    """Samples are `samples.ChoiceSample`. As a source, a task trains on the right (or preferred) option."""

    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona", "sampling"}
    fields = ("user", "question", "reference", "persona")
    extra = ("options",)
    trains = True
    prompted = True
    of_answers = (*(key for key in ANSWERS if key != "sampling"), *SAMPLED, "choice")
    titles = MappingProxyType(
        {
            "longest": "longest option",
            "shortest": "shortest option",
            "first": "first option",
            "pairwise": "pairwise accuracy",
            "pairwise_longest": "longer option",
            "pairwise_writer": "mean of the writer",
            "top1": "top-1 accuracy",
        }
    )
    beside = MappingProxyType(
        {
            "accuracy": Beside("no_persona", "chance", shortcuts=("longest", "shortest", "first")),
            "pairwise": Beside("pairwise_no_persona", 0.5, shortcuts=("pairwise_longest", "pairwise_writer")),
            "top1": Beside("top1_no_persona", "top1_chance"),
        }
    )
    version = 1

    @classmethod
    def beside_of(cls, metric: str, signature: str) -> Beside:
        found = super().beside_of(metric, signature)
        if found == Beside() or "by:pmi" not in signature.split("|"):
            return found
        return replace(found, none="", incomparable="PMI is 0 without a persona")

    def offered(self, example: Example) -> Offered:
        options = example.extra["options"]
        rated = self.keys.choice.rated is not None
        return Offered(options, options.index(example.reference) if rated else example.extra["gold"])

    def faults(self) -> Iterator[str]:
        spec = self.keys.choice
        needed = {"ratings" if spec.rated is not None else "gold", *(["turns"] if spec.turns else [])}
        for name in sorted(needed.difference(self.spec.fields.extra)):
            yield f"fields.extra: protocol choice also reads the field {name!r} of a row here"
        if spec.by == "pmi" and self.spec.persona.whose == "none":
            yield (
                "choice.by: pmi compares the prompt with the one without persona: under persona.whose none "
                "all options score 0; set choice.by to sum or per_token, or persona.whose to own or other"
            )

    def headlines(self) -> Sequence[str]:
        from .scores import scales

        return list(scales(self.keys.choice))

    def scale(self, metric: str) -> Scale:
        from .scores import scales

        return scales(self.keys.choice)[metric]

    def signatures(self) -> Mapping[str, str]:
        from .scores import scales, signature

        return {name: signature(self.keys.choice, name) for name in scales(self.keys.choice)}

    def row_faults(self, row: Mapping[str, Any], reference: str, items: int) -> Iterator[str]:
        from .rows import faults

        return faults(self.keys.choice, row, reference)

    def roles(self) -> Sequence[Role]:
        message = (
            "choice.by: {model} is {what}, which gives no log-probs of given texts; set choice.by: reply, or "
            "use a local model"
        )
        return [] if self.keys.choice.by == "reply" else [Role("subject", None, {"score": message})]

    def idle(self) -> dict[str, str]:
        by = self.keys.choice.by
        if by == "reply":
            return {}
        return dict.fromkeys(("choice.reply", "choice.permutations", *SAMPLED), f"under choice.by {by}")

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        if self.keys.choice.by != "reply":
            return {}
        from perbench.prompts.messages import build_request, estimated

        from .asking import between, lettered, orders_of

        spec, total = self.keys.choice, Asked()
        for example in examples:
            for order in orders_of(spec, example):
                shown = replace(example, question=lettered(spec, example, order))
                request = build_request(self.spec, shown, between(spec, example)).tokens
                turns = sum(estimated(text) for _, text in between(spec, example))
                without = turns + estimated(shown.question)
                total += Asked(2, request + without, 2 * self.spec.sampling.max_new_tokens)
        return {"subject": total}

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        from perbench.lm.context import TooLong
        from perbench.prompts.messages import estimated, guessed

        from .asking import between, scoring

        spec, total = self.keys.choice, 0
        if spec.by == "reply":
            return sum(asked.input + asked.output for asked in self.asks(examples).values()), False
        for example in examples:
            if tokenizer is None:
                options = sum(estimated(option) for option in example.extra["options"])
                turns = sum(estimated(text) for _, text in between(spec, example))
                total += sum(guessed(self.spec, example, options + turns)) + options
                continue
            try:
                found = scoring(self.spec, spec, example, tokenizer, None)
            except TooLong:
                if self.spec.on_too_long == "fail":
                    raise
                continue
            prompts = len(found.pair.factual.ids) + len(found.pair.counterfactual.ids)
            total += prompts + 2 * sum(map(len, found.options))
        return total, tokenizer is not None

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        from perbench.contracts.run import chunks

        groups: dict[str | None, list[Example]] = {}
        for example in sorted(dataset.examples, key=lambda example: example.id):
            user = example.user if example.user in (engines.users or {}) else None
            groups.setdefault(user, []).append(example)
        return [
            Batch(
                [example.id for example in batch], partial(self._choose, engines, seed, user, number, batch)
            )
            for user in sorted(groups, key=lambda user: (user is not None, user or ""))
            for number, batch in enumerate(chunks(groups[user], engines.subject.batch))
        ]

    def _choose(
        self,
        engines: Engines,
        seed: int,
        user: str | None,
        number: int,
        batch: Sequence[Example],
        stored: Mapping[str, Sample],
    ) -> Sequence[Sample]:
        from .asking import replied, scored

        spec = self.keys.choice
        with engines.subject_of(user) as engine:
            if spec.by != "reply":
                samples = scored(self.spec, spec, batch, engine)
            else:
                place = () if engine.alone else (*(() if user is None else (user,)), number)
                samples = replied(self.spec, spec, batch, engine, seed, *place)
        adapters.mark(samples, engines.users, user)
        return samples

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        found, (sample,) = super().shown(samples, example), samples
        spec = self.keys.choice if self.spec is not None else None
        details = [
            (f"option {number}", _described(sample, place))
            for number, place in enumerate(sample["orders"][0], start=1)
        ]
        details += [
            (f"reply {number}", reply) for number, reply in enumerate(sample.get("replies", ())[1:], start=2)
        ]
        notes = [*found.notes]
        if spec and spec.turns:
            notes.append(f"{spec.turns} exchanges on other subjects precede the question")
        if not sample.get(adapters.OWN, True):
            notes.append("answered without an adapter of the user's own")
        return replace(found, details=tuple(details), notes=tuple(notes))

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        found = super().tokens(samples)
        options = sum(sum(sample.get("option_tokens", ())) for sample in samples)
        return found | ({"scored": 2 * options} if options else {})

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .scores import score

        return score(self.keys.choice, samples)


def _described(sample: Sample, place: int) -> str:
    """An option, and what is known of it."""
    option = sample["options"][place]
    facts = ["right"] if sample.get("gold") == place else []
    if "ratings" in sample:
        facts.append(f"rated {sample['ratings'][place]:g}")
        facts += ["preferred"] if option == sample["reference"] else []
    if "logp" in sample:
        own, free = sample["logp"][place], sample["logp_without"][place]
        facts.append(
            f"log-prob {own:.2f}, {free:.2f} without persona, {sample['option_tokens'][place]} tokens"
        )
    return f"{option} ({'; '.join(facts)})" if facts else option
