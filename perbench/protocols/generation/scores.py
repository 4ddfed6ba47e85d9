"""Scores of stored answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.contracts import adapters, missing
from perbench.contracts.metric import Texts
from perbench.contracts.resume import Sample
from perbench.contracts.run import Scored
from perbench.metrics import score_texts
from perbench.store.record import Scores

from . import swap_scores
from .section import PersonaSwapSpec

if TYPE_CHECKING:
    from perbench.shapes.task import TaskSpec


def score(spec: TaskSpec, swap: PersonaSwapSpec | None, samples: Sequence[Sample]) -> Scored:
    """The task's metrics over stored samples."""
    there = missing.answered(samples)
    texts = Texts(
        predictions=[sample.get("response", "") for sample in samples],
        references=[sample["reference"] for sample in samples],
        clusters=[sample["user"] for sample in samples],
        truncated=[sample.get("finish_reason") == "length" for sample in samples],
        missing=missing.reasons(samples),
    )
    found = score_texts(spec.metrics, texts, spec)
    if swap is not None:
        for name, measured in swap_scores.measure(swap, samples, spec.sampling.max_new_tokens).items():
            found.metrics[name] = measured.metric
            found.per_sample[name] = measured.per_sample or []
        found.notes.extend(swap_scores.notes(swap, there))
    swapped = {"persona_swap_left_out": swap_scores.left_out(there)} if swap is not None else {}
    found.notes.extend(adapters.notes(samples, "answers"))
    return Scored(
        scores=Scores(
            ids=[sample["id"] for sample in samples],
            clusters=list(texts.clusters),
            scores=found.per_sample,
            sums=found.sums,
        ),
        metrics=found.metrics,
        counts={
            "samples": len(samples),
            "truncated": sum(sample["finish_reason"] == "length" for sample in there),
            "empty": sum(not sample["response"].strip() for sample in there),
            "persona_items_kept": sum(sample["persona_kept"] for sample in there),
            "persona_items_trimmed": sum(sample["persona_trimmed"] for sample in there),
            **found.counts,
            **missing.counts(samples),
            **swapped,
            **adapters.counts(samples),
        },
        notes=found.notes,
    )
