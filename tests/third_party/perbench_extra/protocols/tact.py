"""Tact: answers that know the user's history, judged by a rubric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from perbench.contracts.protocol import EXAMPLES, PROMPTS, Batch, Sample
from perbench.judges.protocol import JudgedProtocol
from perbench.shapes.base import Strict
from perbench.shapes.rubric import RubricJudge

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines


class TactSpec(Strict):
    judge: RubricJudge


class Keys(Strict):
    tact: TactSpec


class Tact(JudgedProtocol[Keys]):
    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona", "sampling"}
    fields = ("user", "question", "persona")
    prompted = True
    holds = ("persona", "question", "response")

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        from perbench.contracts.run import chunks
        from perbench.seeds import derive_seed

        return [
            Batch(
                [one.id for one in batch],
                partial(self._answer, engines, batch, derive_seed("tact", seed, number)),
            )
            for number, batch in enumerate(chunks(dataset.examples, 8))
        ]

    def _answer(
        self, engines: Engines, batch: Sequence[Example], seed: int, stored: Mapping[str, Sample]
    ) -> Sequence[Sample]:
        from perbench.contracts.run import ask
        from perbench.prompts.messages import build_request

        requests = [build_request(self.spec, one).messages for one in batch]
        replies = ask(self.spec, engines.subject, requests, self.spec.sampling, seed=seed)
        rows = [
            {
                "persona": " ".join(item["text"] for item in one.persona),
                "question": one.question,
                "response": reply.text,
            }
            if reply.missing is None
            else None
            for one, reply in zip(batch, replies, strict=True)
        ]
        verdicts = self.judged(engines, rows, seed=seed)
        return [
            {
                "id": one.id,
                "user": one.user,
                "question": one.question,
                "response": reply.text,
                "finish_reason": reply.finish_reason,
                "prompt_tokens": reply.prompt_tokens,
                "new_tokens": reply.new_tokens,
                **({"missing": reply.missing} if reply.missing is not None else {}),
                **verdict,
            }
            for one, reply, verdict in zip(batch, replies, verdicts, strict=True)
        ]
