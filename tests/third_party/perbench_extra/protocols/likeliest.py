"""Multiple choice: the option that the model finds likeliest as its answer, given the user's history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from perbench.contracts.base import Asked, Role
from perbench.contracts.protocol import EXAMPLES, PROMPTS, Batch, Protocol, Sample
from perbench.shapes.base import Strict

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines, Scored


class ChoiceSpec(Strict):
    """`options`: the row's field that holds the list of options, listed in fields.extra, too."""

    options: str
    length: Literal["sum", "mean"] = "mean"
    """Whether an option's log-prob is summed over its tokens or their mean."""


class Keys(Strict):
    likeliest: ChoiceSpec


class Choice(Protocol[Keys]):
    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona"}
    fields = ("user", "question", "reference", "persona")
    prompted = True

    def headlines(self) -> Sequence[str]:
        return ["accuracy", "margin"]

    def faults(self) -> Iterator[str]:
        if self.keys.likeliest.options not in self.spec.fields.extra:
            yield f"likeliest.options: list {self.keys.likeliest.options!r} in fields.extra, too"

    def row_faults(self, row: Mapping[str, Any], reference: str, items: int) -> Iterator[str]:
        options = row.get(self.keys.likeliest.options)
        if not isinstance(options, list) or reference not in options:
            yield f"{self.keys.likeliest.options}: must be a list that holds the reference {reference!r}"

    def roles(self) -> Sequence[Role]:
        told = (
            "protocol likeliest compares log-probs, and {model} is {what}, which gives none; use a local one"
        )
        return [Role("subject", None, {"score": told})]

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        from perbench.prompts.messages import guessed

        return sum(
            len(one.extra[self.keys.likeliest.options]) * guessed(self.spec, one, None)[0] for one in examples
        ), False

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        return {}

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        from perbench.contracts.run import chunks

        examples = sorted(dataset.examples, key=lambda example: example.id)
        return [
            Batch([one.id for one in batch], partial(self._choose, engines, batch))
            for batch in chunks(examples, engines.subject.batch)
        ]

    def _choose(
        self, engines: Engines, batch: Sequence[Example], stored: Mapping[str, Sample]
    ) -> Sequence[Sample]:
        from perbench.prompts.chat import encode_response
        from perbench.prompts.pair import build_pair

        engine, spec, samples = engines.subject, self.keys.likeliest, []
        for one in batch:
            pair = build_pair(self.spec, one, engine.tokenizer, with_response=False)
            options = [str(option) for option in one.extra[spec.options]]
            ids = [encode_response(engine.tokenizer, option) for option in options]
            scores = engine.score([pair.factual] * len(ids), ids)
            logp = [float(s.mean() if spec.length == "mean" else s.sum()) for s in scores]
            samples.append(
                {
                    "id": one.id,
                    "user": one.user,
                    "question": one.question,
                    "options": options,
                    "reference": one.reference,
                    "response": options[max(range(len(logp)), key=logp.__getitem__)],
                    "logp": logp,
                    "prompt_tokens": len(pair.factual),
                    "new_tokens": 0,
                }
            )
        return samples

    def score(self, samples: Sequence[Sample]) -> Scored:
        from perbench.contracts.metric import mean_metric
        from perbench.contracts.run import Scored
        from perbench.store.record import Scores

        users = [sample["user"] for sample in samples]
        right = [float(sample["response"] == sample["reference"]) for sample in samples]
        margin = []
        for sample in samples:
            gold = sample["options"].index(sample["reference"])
            others = [p for i, p in enumerate(sample["logp"]) if i != gold]
            margin.append(sample["logp"][gold] - max(others) if others else None)
        values = {"accuracy": right, "margin": margin}
        tail = f"likeliest|length:{self.keys.likeliest.length}"
        return Scored(
            scores=Scores(ids=[sample["id"] for sample in samples], clusters=users, scores=values),
            metrics={name: mean_metric(found, users, f"{name}|{tail}") for name, found in values.items()},
            counts={"samples": len(samples)},
        )
