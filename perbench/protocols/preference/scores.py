"""Scores of stored answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from perbench.contracts import missing
from perbench.contracts.resume import Sample
from perbench.contracts.run import Scored
from perbench.disk.digests import canonical_digest
from perbench.metrics import mean_metric
from perbench.store.record import Scores

from .section import CHECKS, PreferenceSpec

OFFICIAL = "official"
"""A row's `turns_from` where its exchanges are the benchmark's own."""


def outcome(checks: Mapping[str, bool | None]) -> dict[str, float | None]:
    """The metrics of one answer, 0 or 1; None where a check that decides is missing."""
    violates, acknowledges = checks["violates"], checks["acknowledges"]
    hallucinates, helpful = checks["hallucinates"], checks["helpful"]
    made_up = False if acknowledges is False else None if acknowledges is None else hallucinates
    accurate = None if violates is None or helpful is None else helpful and not violates
    if violates is True or helpful is False:
        accurate = False  # whatever the other check would have said
    values = {
        "accurate": accurate,
        "violates": violates,
        "acknowledges": acknowledges,
        "hallucinates": made_up,
        "helpful": helpful,
    }
    return {name: None if value is None else float(value) for name, value in values.items()}


def _unjudged(sample: Sample) -> str | None:
    """The first of the reasons why checks of an answer are missing."""
    reasons: Mapping[str, str] = sample.get("checks_missing", {})
    return next(iter(reasons.values()), None)


def score(spec: PreferenceSpec, samples: Sequence[Sample]) -> Scored:
    """Shares of answers, with intervals over users."""
    judge = spec.judge
    clusters = [sample["user"] for sample in samples]
    rows = [outcome(sample["checks"]) for sample in samples]
    wording = canonical_digest([getattr(judge, name) for name in CHECKS])[:12]
    tail = f"judge:{judge.model}|method:{judge.method}|instructions:{wording}|turns:{spec.turns}"
    values = {name: [row[name] for row in rows] for name in ("accurate", *CHECKS)}
    there = missing.answered(samples)
    why = [missing.reason(sample) or _unjudged(sample) for sample in samples]
    notes = []
    open_ = Counter(reason for sample in there for reason in sample.get("checks_missing", {}).values())
    if open_:
        asked = len(CHECKS) * len(there)
        notes.append(
            f"the judge {judge.model} said neither yes nor no in {open_.total()} of {asked} "
            f"checks ({missing.told(open_)}); preference.judge.max_new_tokens is {judge.max_new_tokens}"
        )
    writers = sorted({str(sample["turns_from"]) for sample in samples if sample.get("turns_from")})
    if spec.turns and writers:
        tail += f"|turns_from:{','.join(writers)}"
    if spec.turns and set(writers) - {OFFICIAL}:
        told = ", ".join(writers)
        notes.append(f"the exchanges between preference and question are not the benchmark's own: {told}")
    if not judge.calibrated:
        notes.append(f"the judge {judge.model} is uncalibrated; its checks are no measure of quality")
    return Scored(
        scores=Scores(ids=[sample["id"] for sample in samples], clusters=clusters, scores=dict(values)),
        metrics={name: mean_metric(found, clusters, f"{name}|{tail}", why) for name, found in values.items()},
        counts={
            "samples": len(samples),
            "truncated": sum(sample["finish_reason"] == "length" for sample in there),
            "empty": sum(not sample["response"].strip() for sample in there),
            "missing_scores": sum(value is None for s in there for value in s["checks"].values()),
            **missing.counts(samples),
        },
        notes=notes,
    )
