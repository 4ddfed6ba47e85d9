"""among: which of several answers is likeliest; a protocol of a plugin root, written for these tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from perbench.contracts.base import Role
from perbench.contracts.independent import Asking, Independent, IndependentRequest, Reply
from perbench.contracts.metric import UNIT, Scale
from perbench.contracts.protocol import EXAMPLES, PROMPTS, Batch, Protocol, Sample
from perbench.shapes.base import Strict

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines, Scored
    from perbench.shapes.task import TaskSpec


class ChoiceSpec(Strict):
    among: list[str]


class Keys(Strict):
    among: ChoiceSpec


def chosen(among: Sequence[str], example: Example, logp: Sequence[float]) -> dict[str, Any]:
    best = among[max(range(len(logp)), key=logp.__getitem__)]
    return {
        "id": example.id,
        "user": example.user,
        "logp": list(logp),
        "response": best,
        "right": float(best == example.reference),
    }


def score(samples: Sequence[Sample]) -> Scored:
    from perbench.contracts.metric import mean_metric
    from perbench.contracts.run import Scored
    from perbench.store.record import Scores

    users, values = [one["user"] for one in samples], [one["right"] for one in samples]
    scores = Scores(ids=[one["id"] for one in samples], clusters=users, scores={"accuracy": values})
    return Scored(scores, {"accuracy": mean_metric(values, users, "accuracy")}, {"samples": len(samples)})


class Choices(Independent):
    output = "multiple_choice"

    def __init__(self, spec: TaskSpec, among: Sequence[str]) -> None:
        super().__init__(spec)
        self._among = among

    @property
    def metrics(self) -> Sequence[str]:
        return ["accuracy"]

    def ask(self, example: Example, tokenizer: Any, context: int | None) -> Asking:
        from perbench.prompts.pair import turns

        prompt = turns(self.spec, example, tokenizer, context=context).factual
        return Asking([IndependentRequest(prompt.system, prompt.user, answer) for answer in self._among])

    def sample(self, example: Example, asking: Asking, replies: Sequence[Reply], tokenizer: Any) -> Sample:
        return chosen(self._among, example, [float(reply) for reply in replies])

    def left_out(self, example: Example) -> Sample:
        raise NotImplementedError

    def score(self, samples: Sequence[Sample]) -> Scored:
        return score(samples)


class Choice(Protocol[Keys]):
    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona", "sampling"}
    fields = ("user", "question", "reference", "persona")
    prompted = True

    def headlines(self) -> Sequence[str]:
        return ["accuracy"]

    def scale(self, metric: str) -> Scale:
        return UNIT

    def roles(self) -> Sequence[Role]:
        return [Role("subject", None, {"score": "{model} is {what}, which gives no log-probs"})]

    def independent(self) -> Independent:
        return Choices(self.spec, self.keys.among.among)

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        return [Batch([one.id], partial(self._one, engines, one)) for one in dataset.examples]

    def _one(self, engines: Engines, example: Example, _: Mapping[str, Sample]) -> Sequence[Sample]:
        from perbench.prompts.chat import encode_response
        from perbench.prompts.pair import build_pair

        engine, among = engines.subject, self.keys.among.among
        prompt = build_pair(self.spec, example, engine.tokenizer, with_response=False).factual
        answers = [encode_response(engine.tokenizer, answer) for answer in among]
        logp = engine.score([prompt] * len(among), answers)
        return [chosen(among, example, [float(one.sum()) for one in logp])]

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        return {}

    def score(self, samples: Sequence[Sample]) -> Scored:
        return score(samples)
