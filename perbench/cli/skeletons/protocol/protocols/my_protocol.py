"""my_protocol: describe in this line what is asked and measured, for `perbench ls`; then its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from perbench.contracts import missing
from perbench.contracts.base import Asked
from perbench.contracts.metric import UNIT, Scale
from perbench.contracts.protocol import EXAMPLES, PROMPTS, Batch, Protocol, Sample
from perbench.shapes.base import Strict

if TYPE_CHECKING:
    from perbench.contracts.data import Dataset, Example
    from perbench.contracts.run import Engines, Scored


class MyProtocolSpec(Strict):
    case: bool = False
    """Whether "Tea" and "tea" differ."""


class Keys(Strict):
    my_protocol: MyProtocolSpec = MyProtocolSpec()


class MyProtocol(Protocol[Keys]):
    """One answer per example; `holds` is the share of answers that contain the reference."""

    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona", "sampling"}
    fields = ("user", "question", "reference", "persona")
    prompted = True

    def headlines(self) -> Sequence[str]:
        return ["holds"]

    def scale(self, metric: str) -> Scale:
        return UNIT

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        from perbench.prompts.messages import build_request

        read = sum(build_request(self.spec, example).tokens for example in examples)
        return {"subject": Asked(len(examples), read, len(examples) * self.spec.sampling.max_new_tokens)}

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        from perbench.contracts.run import chunks

        return [
            Batch([example.id for example in batch], partial(self._answer, engines, seed, number, batch))
            for number, batch in enumerate(chunks(dataset.examples, engines.subject.batch))
        ]

    def _answer(
        self,
        engines: Engines,
        seed: int,
        number: int,
        batch: Sequence[Example],
        stored: Mapping[str, Sample],
    ) -> Sequence[Sample]:
        from perbench.contracts.run import ask
        from perbench.prompts.messages import build_request
        from perbench.seeds import derive_seed

        requests = [build_request(self.spec, example).messages for example in batch]
        drawn = derive_seed("my_protocol", seed, number)
        answers = ask(self.spec, engines.subject, requests, self.spec.sampling, seed=drawn)
        return [
            {
                "id": example.id,
                "user": example.user,
                "reference": example.reference,
                "response": answer.text,
                "prompt_tokens": answer.prompt_tokens,
                "new_tokens": answer.new_tokens,
                **({missing.MISSING: answer.missing} if answer.missing else {}),
            }
            for example, answer in zip(batch, answers, strict=True)
        ]

    def score(self, samples: Sequence[Sample]) -> Scored:
        from perbench.contracts.metric import mean_metric
        from perbench.contracts.run import Scored
        from perbench.store.record import Scores

        users, reasons = [sample["user"] for sample in samples], missing.reasons(samples)
        values = [
            float(self._plain(sample["reference"]) in self._plain(sample["response"]))
            if why is None
            else None
            for sample, why in zip(samples, reasons, strict=True)
        ]
        signature = f"holds|case:{self.keys.my_protocol.case}"
        return Scored(
            Scores(ids=[sample["id"] for sample in samples], clusters=users, scores={"holds": values}),
            {"holds": mean_metric(values, users, signature, reasons)},
            {"samples": len(samples), **missing.counts(samples)},
        )

    def _plain(self, text: str) -> str:
        return text if self.keys.my_protocol.case else text.casefold()
