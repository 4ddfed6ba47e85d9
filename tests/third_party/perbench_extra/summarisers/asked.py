"""What a model says of a history, asked once."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.base import Asked, Role
from perbench.contracts.data import Example
from perbench.contracts.persona import Models, Rewritten, Summariser
from perbench.shapes.base import Strict
from perbench.shapes.fields import ModelName
from perbench.shapes.sampling import SamplingSpec


class AskedSpec(Strict):
    model: ModelName
    max_new_tokens: int = 16


class Keys(Strict):
    asked: AskedSpec


class AskedOnce(Summariser[Keys]):
    Keys = Keys

    def roles(self) -> Sequence[Role]:
        return [Role("summariser", self.keys.asked.model)]

    def asks(self, examples: Sequence[Example]) -> dict[str, Asked]:
        return {"summariser": Asked(len(examples), 50 * len(examples), self.longest() * len(examples))}

    def longest(self) -> int:
        return self.keys.asked.max_new_tokens

    def rewrite(self, histories: Sequence[Sequence[str]], models: Models) -> Rewritten:
        told = [" ".join(history) for history in histories if history]
        _, engine = models.summariser(self.keys.asked.model)
        sampling = SamplingSpec(max_new_tokens=self.longest(), temperature=0.0)
        answers = engine().chat([[{"role": "user", "content": text}] for text in told], sampling, seed=0)
        texts = iter(answer.text for answer in answers)
        return Rewritten([next(texts) if history else "" for history in histories], {"summaries": len(told)})
