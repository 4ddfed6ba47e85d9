"""Scores of stored dialogue turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perbench.contracts import missing
from perbench.contracts.metric import Scale, mean_metric
from perbench.contracts.resume import Sample
from perbench.contracts.run import Scored
from perbench.disk.digests import canonical_digest
from perbench.judges.agreement import AGREEMENT, judge_agreement
from perbench.store.record import Metric, Scores, TurnValue
from perbench.text.scripts import UNSPACED_ANSWER, word_count

from .improvement import improvement
from .section import DialogueSpec, JudgeSpec
from .turns import PMI_SYSTEM


def scale(metric: str) -> Scale:
    """Ratings are 1 to 5, agreement is -1 to 1; PMI and improvement are unbounded."""
    if metric == "rating":
        return Scale(bounds=(1.0, 5.0))
    if metric == "length":
        return Scale(better=None, bounds=(0.0, float("inf")))
    return AGREEMENT if metric.startswith("judge_") else Scale()


def _reported(spec: DialogueSpec) -> set[int]:
    return set(spec.report_turns or range(1, spec.turns + 1))


def signatures(spec: DialogueSpec) -> dict[str, str]:
    """By metric that is averaged over the reported turns."""
    judge, turns = spec.judge, ",".join(map(str, sorted(_reported(spec))))
    found = {"rating": f"rating|1-5|{_signature(judge)}|turns:{turns}"}
    if judge.pmi:
        wording = canonical_digest(PMI_SYSTEM)[:12]
        found["pmi"] = f"pmi|nats/token|model:{judge.model}|system:{wording}|turns:{turns}"
    return {**found, "length": f"length|words:whitespace|turns:{turns}"}


def score(spec: DialogueSpec, samples: Sequence[Sample]) -> Scored:
    """Ratings and PMI, by turn and over the reported turns. `scores` holds only the reported turns, so that
    cells are compared by headline."""
    reported, judge, signature_of = _reported(spec), spec.judge, signatures(spec)
    chosen = [sample for sample in samples if sample["turn"] in reported]
    judged = [name for name in signature_of if name != "length"]
    metrics = {name: _metric(name, samples, chosen, signature_of[name]) for name in judged}
    clusters = [sample["user"] for sample in chosen]
    words = [word_count(one["response"]) if missing.reason(one) is None else None for one in chosen]
    why = [missing.reason(sample) or UNSPACED_ANSWER for sample in chosen]
    metrics["length"] = mean_metric(words, clusters, signature_of["length"], why, scale=scale("length"))
    there = missing.answered(samples)
    notes = []
    rated, people = ([sample[name] for sample in samples] for name in ("rating", "user"))
    if spec.turns > 1:
        at = [sample["turn"] for sample in samples]
        metrics |= improvement(rated, at, people, f"rating|1-5|{_signature(judge)}")
    if spec.second_judge is not None:
        second = [sample["rating_second"] for sample in samples]
        agreed = judge_agreement(rated, second, people, f"rating|{'|'.join(map(_signature, spec.judges()))}")
        metrics |= agreed
        if agreed["judge_kappa"].value is None and agreed["judge_kappa"].n:
            notes.append(
                "judge_kappa has no value: both judges gave one rating throughout, so that chance alone "
                "would agree in full"
            )
    if not judge.calibrated:
        notes.append(
            f"rating: the judge {judge.model} is uncalibrated; its ratings are no measure of quality"
        )
    return Scored(
        scores=Scores(
            ids=[sample["id"] for sample in chosen],
            clusters=clusters,
            scores={**{name: [sample[name] for sample in chosen] for name in judged}, "length": words},
        ),
        metrics=metrics,
        counts={
            "samples": len(samples),
            "truncated": sum(sample["finish_reason"] == "length" for sample in there),
            "empty": sum(not sample["response"].strip() for sample in there),
            "empty_messages": sum(not sample["message"] for sample in there),
            "turns_dropped": sum(sample["turns_dropped"] for sample in there),
            "missing_scores": sum(sample["rating"] is None for sample in there),
            "judge_retries": sum(len(sample["rating_raw"]) - 1 for sample in there),
            **(
                {"missing_second_scores": sum(sample["rating_second"] is None for sample in there)}
                if spec.second_judge is not None
                else {}
            ),
            **missing.counts(samples),
        },
        notes=notes,
    )


def implied(scores: Scores, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Ratings and PMI with those of their turns that are reported; the improvement if all are.

    Raises:
        ValueError: an id is not that of a turn.
    """
    turns = [int(name.rpartition("#")[2]) for name in scores.ids]
    found = {}
    for name in ("rating", "pmi"):
        column, old = scores.scores.get(name), metrics.get(name)
        if column is None or old is None:
            continue
        by_turn = list(old.by_turn)
        for number, one in enumerate(by_turn):
            at = [place for place, turn in enumerate(turns) if turn == one.turn]
            if at:
                mean = _implied_mean(name, [column[i] for i in at], [scores.clusters[i] for i in at])
                by_turn[number] = TurnValue(turn=one.turn, value=mean.value, ci=mean.ci, n=mean.n)
        whole = _implied_mean(name, column, scores.clusters)
        found[name] = whole.model_copy(update={"by_turn": by_turn})
        if name == "rating" and {one.turn for one in by_turn} <= set(turns):
            fitted = improvement(column, turns, scores.clusters, "")
            found |= {name: metric for name, metric in fitted.items() if name in metrics}
    return found


def _implied_mean(name: str, values: Sequence[float | None], users: Sequence[str]) -> Metric:
    return mean_metric(values, users, "", scale=scale(name))


def _signature(judge: JudgeSpec) -> str:
    wording = canonical_digest(judge.text)[:12]
    return f"judge:{judge.model}|method:{judge.method}|instruction:{wording}"


def _unscored(name: str, sample: Sample) -> str | None:
    """Why a sample has no score."""
    unrated = sample.get("rating_missing") if name == "rating" else "reply without tokens"
    return missing.reason(sample) or unrated


def _metric(name: str, samples: Sequence[Sample], chosen: Sequence[Sample], signature: str) -> Metric:
    def mean(part: Sequence[Sample]) -> Metric:
        values, people = [sample[name] for sample in part], [sample["user"] for sample in part]
        why = [_unscored(name, sample) for sample in part]
        return mean_metric(values, people, signature, why, scale=scale(name))

    by_turn = []
    for turn in sorted({sample["turn"] for sample in samples}):
        found = mean([sample for sample in samples if sample["turn"] == turn])
        by_turn.append(TurnValue(turn=turn, value=found.value, ci=found.ci, n=found.n))
    return mean(chosen).model_copy(update={"by_turn": by_turn})
