"""Identification: which tokens of a response are personal (PerCE paper, 2.2 and App. B.2).

An identifier scores the tokens of the dev examples, if the task has any, and of the test examples; metrics
and the dev threshold are computed from the stored samples (`scores`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perbench.contracts import missing
from perbench.contracts.base import NoKeys
from perbench.contracts.metric import UNIT, Scale
from perbench.contracts.protocol import EXAMPLES, PROMPTS, Batch, Protocol, Sample
from perbench.contracts.resume import Made

from .names import GOLD, GOLD_CHECKED, IDENTIFICATION_METRICS

if TYPE_CHECKING:
    from perbench.api import Example, Identifier
    from perbench.contracts.data import Dataset
    from perbench.contracts.engine import Engine
    from perbench.contracts.independent import Independent
    from perbench.contracts.run import Scored
    from perbench.contracts.shown import Shown
    from perbench.store.record import Metric, Scores


class IdentificationProtocol(Protocol[NoKeys]):
    """Samples are `samples.Marked`."""

    reads = EXAMPLES | PROMPTS
    cells = "identify"
    tunes = True
    prompted = True
    fields = ("question", "reference", "persona")
    extra = ("gold",)
    version = 1

    def headlines(self) -> Sequence[str]:
        return IDENTIFICATION_METRICS

    def scale(self, metric: str) -> Scale:
        if metric.startswith("threshold"):
            return Scale(better=None)
        return Scale("lower", UNIT.bounds) if metric.startswith("false_") else UNIT

    def row_faults(self, row: Mapping[str, Any], reference: str, items: int) -> Iterator[str]:
        from perbench.data.gold import gold_faults

        if "gold" in row and reference.strip():
            yield from gold_faults("gold", row["gold"], reference, items)

    def row_counts(self, row: Mapping[str, Any], reference: str) -> Mapping[str, int]:
        from perbench.data.gold import checked, places

        spans = len({place for entry in row["gold"] for place in places(entry, reference)})
        return {GOLD: spans, GOLD_CHECKED: spans * checked(row)}

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        from perbench.prompts.messages import guessed
        from perbench.prompts.pair import build_pairs

        if tokenizer is None:
            return sum(sum(guessed(self.spec, example, None)) for example in examples), False
        pairs = build_pairs(self.spec, examples, tokenizer, with_response=True, context=None)
        lengths = [
            len(pair.factual) + len(pair.counterfactual) + 2 * len(pair.response)
            for pair in pairs
            if pair is not None
        ]
        return sum(lengths), True

    def sample_ids(self, dataset: Dataset, dev: Dataset | None = None) -> Sequence[str]:
        return [example.id for split in (dev, dataset) if split is not None for example in split.examples]

    def identified(
        self, dataset: Dataset, identifier: Identifier, engine: Engine | None, dev: Dataset | None
    ) -> Sequence[Batch]:
        from .scoring import batches

        splits = {"dev": dev.examples if dev is not None else [], "test": dataset.examples}
        return batches(self.spec, splits, identifier, engine)

    def independent(self) -> Independent:
        from .independent import WordRequests

        return WordRequests(self.spec)

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        from .shown import shown

        (sample,) = samples
        return shown(sample)

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        return {"response": sum(len(sample["spans"]) for sample in missing.answered(samples))}

    def timed(self, made: Made) -> dict[str, int]:
        scored = [sample for sample in made.samples if "spans" in sample]
        return {
            "timed_examples": len(scored),
            "timed_tokens": sum(len(sample["spans"]) for sample in scored),
            "timed_ms": round(1000 * made.seconds),
        }

    @classmethod
    def implied(cls, scores: Scores, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
        from .scores import implied

        return implied(scores, metrics)

    def score(self, samples: Sequence[Sample]) -> Scored:
        from .scores import score_samples

        return score_samples(samples)
