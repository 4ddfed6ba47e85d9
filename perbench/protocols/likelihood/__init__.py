"""Likelihood: how likely the model finds the user's text under the user's own persona, none, or another's.

Nothing is generated. The text of every example is scored by its log-probability under the user's own persona,
without a persona, and under other users' personas. A token is personal if its PIR (PerCE, Eq. 2) under the
model before training exceeds 1, so all rows of a model have the same personal tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from perbench.contracts.base import Role
from perbench.contracts.metric import Scale
from perbench.contracts.protocol import EXAMPLES, PROMPTS, Batch, Beside, Protocol, Sample
from perbench.shapes.base import Strict

from .section import PARTS, LikelihoodSpec, metric_names

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines, Scored
    from perbench.contracts.shown import Shown
    from perbench.stats.spread import Statistic
    from perbench.store.record import Metric

NATS = "nats per token"


class Keys(Strict):
    likelihood: LikelihoodSpec = LikelihoodSpec()


class LikelihoodProtocol(Protocol[Keys]):
    """Samples are `samples.Likelihood`."""

    Keys = Keys
    reads = EXAMPLES | PROMPTS | {"persona", "fields", "sampling.end"}
    fields = ("question", "reference", "persona")
    trains = True
    prompted = True
    title = "likelihood"
    titles = MappingProxyType(
        {
            "nll": f"NLL, {NATS}",
            "nll_personal": f"NLL of personal tokens, {NATS}",
            "nll_rest": f"NLL of other tokens, {NATS}",
            "gain_over_none": f"gain over no persona, {NATS}",
            "gain_over_other": f"gain over other personas, {NATS}",
            "win_over_none": "likelier than without a persona",
            "win_over_other": "likelier than under other personas",
            "bits_per_character": "bits per character",
        }
    )
    headline = "nll"
    beside = MappingProxyType({"nll": Beside(over_none="gain_over_none", over_other="gain_over_other")})
    version = 1

    @property
    def others(self) -> int:
        """Number of other users to compare with: none where prompts do not hold the user's own persona."""
        return self.keys.likelihood.others if self.spec.persona.whose == "own" else 0

    def headlines(self) -> Sequence[str]:
        return metric_names(self.others)

    def faults(self) -> Iterator[str]:
        whose, headline = self.spec.persona.whose, self.spec.headline or ""
        if whose != "own" and headline.endswith(PARTS[1:]):
            yield (
                f"headline: {headline} depends on which tokens the prompt's persona makes likelier: under "
                f"persona.whose {whose} these are other tokens than under own, and none under none; choose a "
                f"metric of all tokens, such as {headline.removesuffix('_personal').removesuffix('_rest')}"
            )

    def scale(self, metric: str) -> Scale:
        from .scores import scale

        return scale(metric)

    def split_faults(self, examples: Sequence[Example]) -> Iterator[str]:
        from perbench.persona.others import alone

        if self.others and alone(examples):
            yield (
                "likelihood.others: no user here has another persona than the first one, so there is none to "
                "compare with; add rows of other users, or set likelihood.others: 0"
            )

    def idle(self) -> dict[str, str]:
        whose = self.spec.persona.whose
        return {} if whose == "own" else {"likelihood.others": f"under persona.whose {whose}"}

    def roles(self) -> Sequence[Role]:
        message = (
            "protocol likelihood reads log-probs of given texts, but {model} is {what}, which gives none; "
            "use models whose weights are on this machine (hub, path or gguf), or protocol generation"
        )
        return [Role("subject", None, {"tokens": message, "score": message})]

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        from perbench.persona.others import others
        from perbench.prompts.messages import guessed
        from perbench.prompts.pair import build_pairs

        count = self.others
        if tokenizer is None:
            both = [guessed(self.spec, example, None) for example in examples]
            return sum((1 + count) * own + none for own, none in both), False
        total = 0
        for example in examples:
            tried = [replace(example, persona=one.persona) for one in others(example, examples, count)]
            own, *them = build_pairs(
                self.spec, [example, *tried], tokenizer, with_response=True, context=None
            )
            if own is not None:
                total += len(own.counterfactual) + len(own.response)
                total += sum(
                    len(pair.factual) + len(pair.response)
                    for pair in (own, *(one for one in them if one is not None and own.kept and one.kept))
                    if pair is not None
                )
        return total, True

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """
        Raises:
            PerbenchError: an example's request and text alone exceed max_length.
        """
        from .scoring import TextScoring

        return TextScoring(self.spec, self.others, dataset, engines).batches()

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        from .shown import shown

        return shown(super().shown(samples, example), samples[0])

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        prompt = sum(sample["prompt_tokens"] for sample in samples)
        scored = sum((2 + len(sample["other"])) * len(sample["own"]) for sample in samples)
        return {"prompt": prompt, "scored": scored}

    @classmethod
    def statistic(cls, metric: Metric) -> Statistic | None:
        from .scores import statistic

        return statistic(metric)

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .scores import score

        return score(self.others, samples)
