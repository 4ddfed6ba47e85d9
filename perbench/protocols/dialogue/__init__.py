"""Dialogue (ALOE, arXiv 2410.03642): a simulated user talks to the model, and a judge rates its replies.

The user has a profile and a personality. The model has no system prompt and must work out whom it talks to.
AL(k), ALOE's alignment level at turn k, is the mean rating at turn k. PerCE reports the mean over turns 6-10
(`report_turns`), ALOE also how AL(k) rises with k. PMI needs no judgement: how much more likely the reply
becomes, per token, when the judge's model sees the user's persona.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from perbench.contracts.base import Asked, Inputs, Role
from perbench.contracts.metric import Scale
from perbench.contracts.protocol import EXAMPLES, Batch, Protocol, Sample
from perbench.shapes.base import Strict

from .section import DialogueSpec

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.run import Engines, Scored
    from perbench.contracts.shown import Shown
    from perbench.store.record import Metric, Scores


class Keys(Strict):
    dialogue: DialogueSpec


class DialogueProtocol(Protocol[Keys]):
    """One sample, a `samples.Turn`, per persona and turn."""

    Keys = Keys
    reads = EXAMPLES | {"max_length", "sampling"}
    extra = ("profile", "personality")
    titles = MappingProxyType({"rating": "rating, 1 to 5", "pmi": "PMI, nats per token"})
    version = 1

    def headlines(self) -> Sequence[str]:
        return ["rating", "pmi"] if self.keys.dialogue.judge.pmi else ["rating"]

    def scale(self, metric: str) -> Scale:
        from .scores import scale

        return scale(metric)

    def idle(self) -> dict[str, str]:
        spec = self.keys.dialogue
        raters = {"judge": spec.judge, "second_judge": spec.second_judge}
        found = {
            f"dialogue.{role}.rubric": f"together with dialogue.{role}.instruction"
            for role, rater in raters.items()
            if rater is not None and rater.instruction is not None
        }
        if any(judge.method != "likeliest" for judge in spec.judges()):
            return found
        drawing = ("temperature", "top_p", "repetition_penalty", "end")
        keys = ("retries", *(f"sampling.{key}" for key in drawing))
        return found | {f"dialogue.judge.{key}": "under dialogue.judge.method likeliest" for key in keys}

    def signatures(self) -> Mapping[str, str]:
        from .scores import signatures

        return signatures(self.keys.dialogue)

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        found, spec = super().inputs(helpers), self.keys.dialogue
        found["dialogue"]["judge"]["instruction"] = spec.judge.text
        if spec.second_judge is not None:
            found["dialogue"]["second_judge"]["instruction"] = spec.second_judge.text
        return found

    def roles(self) -> Sequence[Role]:
        spec = self.keys.dialogue
        sampling, place = spec.simulator.sampling, "dialogue.simulator.sampling"
        found = [Role("simulator", spec.simulator.model, sampling=sampling, sampling_key=place)]
        for role, judge in zip(("judge", "second_judge"), spec.judges(), strict=False):
            wrong = ["pmi: false"] if judge.pmi else []
            wrong += ["method: reply"] if judge.method == "likeliest" else []
            message = (
                f"dialogue.{role}: {{model}} is {{what}}, which gives no log-probs; set "
                f"dialogue.{role}.{f' and dialogue.{role}.'.join(wrong)}"
                + (" and headline: rating" if self.spec.headline == "pmi" else "")
                + ", or name a model whose weights are on this machine"
            )
            found.append(Role(role, judge.model, {"score": message} if wrong else {}))
        return found

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        from perbench.prompts.messages import estimated

        spec = self.keys.dialogue
        found: defaultdict[str, Asked] = defaultdict(Asked)
        message, answered = spec.simulator.sampling.max_new_tokens, self.spec.sampling.max_new_tokens
        for example in examples:
            persona = sum(estimated(str(value)) for value in example.extra.values())
            for turn in range(spec.turns):
                before = turn * (message + answered)
                prompt = persona + estimated(spec.simulator.instruction + spec.simulator.opening)
                found["simulator"] += Asked(1, prompt + before, message)
                found["subject"] += Asked(1, before + message, answered)
                for role, judge in zip(("judge", "second_judge"), spec.judges(), strict=False):
                    read = persona + estimated(judge.text or "") + message + answered
                    found[role] += Asked(1, read, judge.sampling.max_new_tokens)
        return dict(found)

    def example_of(self, sample: str) -> str:
        return sample.rpartition("#")[0]

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        from .shown import shown

        return shown(self.example_of(samples[0]["id"]), samples, example)

    def sample_ids(self, dataset: Dataset, dev: Dataset | None = None) -> Sequence[str]:
        turns = range(1, self.keys.dialogue.turns + 1)
        return [f"{example.id}#{turn}" for turn in turns for example in dataset.examples]

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """Turn by turn; the dialogues of a batch run side by side.

        Raises:
            PerbenchError: a persona without profile or personality, or (when a batch is made) a single
                message longer than max_length.
        """
        from perbench.contracts.run import chunks

        from .turns import Talk, check_persona

        examples = sorted(dataset.examples, key=lambda example: example.id)
        for example in examples:
            check_persona(example)
        talk = Talk(self.spec, self.keys.dialogue, engines, seed)
        return [
            Batch([f"{one.id}#{turn}" for one in batch], partial(talk.turn, turn, number, batch))
            for turn in range(1, self.keys.dialogue.turns + 1)
            for number, batch in enumerate(chunks(examples, talk.batch))
        ]

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        totals = super().tokens(samples)
        for sample in samples:
            for name, count in sample["overhead"].items():
                totals[name] = totals.get(name, 0) + count
        return totals

    @classmethod
    def implied(cls, scores: Scores, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
        from .scores import implied

        return implied(scores, metrics)

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .scores import score

        return score(self.keys.dialogue, samples)
