"""Scores of stored samples.

Rates are per token over all tokens of all examples, as perplexity is computed: sum of log-probs / number of
tokens. A gain is the log-prob under the user's own persona minus that without one, or minus the mean over the
other users' personas. An example whose own persona has no item in the prompt has no gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import fsum, log

from perbench.contracts import adapters, missing
from perbench.contracts.metric import UNIT, Scale, mean_metric, rows_metric
from perbench.contracts.resume import Sample
from perbench.contracts.run import Scored
from perbench.progress import counted
from perbench.stats.spread import Statistic, ratio
from perbench.store.record import Metric, Scores

from .section import BITS, PARTS, PERSONAL, RATES, WINS

NO_TOKENS = "text without tokens"
NO_PERSONA = "no persona in the prompt"
NO_OTHER = "no other user's persona to try"
NONE_HERE = {"_personal": "no personal token", "_rest": "personal tokens only"}
RATIOS = frozenset((*(f"{name}{part}" for name in RATES for part in PARTS), BITS))

Row = tuple[list[float] | None, str | None]
"""[numerator, tokens or characters], or why there is none."""


def scale(metric: str) -> Scale:
    name = metric.removesuffix("_personal").removesuffix("_rest")
    if name in ("nll", BITS):
        return Scale("lower", (0.0, float("inf")))
    return UNIT if name in WINS else Scale()


def statistic(metric: Metric) -> Statistic | None:
    return ratio if metric.signature.partition("|")[0] in RATIOS else None


def score(count: int, samples: Sequence[Sample]) -> Scored:
    """`count`: number of other users to compare with."""
    clusters = [sample["user"] for sample in samples]
    scores = Scores(ids=[sample["id"] for sample in samples], clusters=clusters, scores={})
    metrics: dict[str, Metric] = {}
    for part in PARTS:
        for name in RATES if count else RATES[:2]:
            tokens = f"tokens:{part.strip('_')}|pir>{PERSONAL:g}" if part else "tokens:all"
            tail = f"|nats/token|{tokens}|end:no{_tried(name, count)}"
            rows = [row_of(name, part, sample) for sample in samples]
            metrics[name + part] = _rate(name + part, rows, scores, tail)
            win = next((win for win, gain in WINS.items() if gain == name), None)
            if win is not None:
                values = [None if row is None else float(row[0] > 0) for row, _ in rows]
                scores.scores[win + part] = values
                metrics[win + part] = mean_metric(
                    values, clusters, f"{win}{part}{tail}", [why for _, why in rows], scale=UNIT
                )
    metrics[BITS] = _rate(BITS, [bits_row(sample) for sample in samples], scores, "|bits|end:no")
    there = missing.answered(samples)
    return Scored(
        scores=scores,
        metrics=metrics,
        counts={
            "samples": len(samples),
            "tokens": sum(len(sample["own"]) for sample in there),
            "personal_tokens": sum(len(sample["personal"]) for sample in there),
            "others_left_out": sum(sample["left_out"] for sample in there),
            "responses_cut": sum(sample["cut"] > 0 for sample in there),
            "persona_items_kept": sum(sample["persona_kept"] for sample in there),
            "persona_items_trimmed": sum(sample["persona_trimmed"] for sample in there),
            **missing.counts(samples),
            **adapters.counts(samples),
        },
        notes=[*_notes(count, there), *adapters.notes(samples, "texts scored")],
    )


def row_of(name: str, part: str, sample: Sample) -> Row:
    """The sum of an example's log-prob, or gain, over the tokens of a part, and their number."""
    if (why := missing.reason(sample)) is not None:
        return None, why
    own = sample["own"]
    chosen = [*range(len(own))]
    if part:
        personal = set(sample["personal"])
        chosen = [place for place in chosen if (place in personal) == (part == "_personal")]
    if not chosen:
        return None, NONE_HERE[part] if own else NO_TOKENS
    mine = fsum(own[place] for place in chosen)
    if name == "nll":
        return [max(-mine, 0.0), float(len(chosen))], None
    if not sample["persona_kept"]:
        return None, NO_PERSONA
    if name == "gain_over_none":
        return [mine - fsum(sample["none"][place] for place in chosen), float(len(chosen))], None
    others = sample["other"]
    if not others:
        return None, NO_OTHER
    theirs = fsum(logp[place] for logp in others for place in chosen) / len(others)
    return [mine - theirs, float(len(chosen))], None


def bits_row(sample: Sample) -> Row:
    row, why = row_of("nll", "", sample)
    return (None, why) if row is None else ([row[0] / log(2), float(sample["characters"])], None)


def _rate(name: str, rows: Sequence[Row], scores: Scores, tail: str) -> Metric:
    """Adds its sums to the scores, and each example's own rate."""
    held = [row for row, _ in rows]
    scores.sums[name] = held
    scores.scores[name] = [None if row is None else row[0] / row[1] for row in held]
    signature = f"{name}|by:tokens{tail}" if name != BITS else f"{name}|by:characters{tail}"
    why = [reason for _, reason in rows]
    return rows_metric(ratio, held, scores.clusters, signature, why, scale=scale(name))


def _tried(name: str, count: int) -> str:
    return f"|unfit:left-out|others:{count}" if name.endswith("_other") else ""


def _notes(count: int, samples: Sequence[Sample]) -> Iterator[str]:
    """Remarks on fewer other users than requested, and on personas left out."""
    tried = [len(sample["others"]) + sample["left_out"] for sample in samples]
    if (fewest := min(tried, default=count)) < count:
        tried_with = counted(fewest, "other persona")
        yield f"likelihood: some texts had {tried_with} to be tried with, not {count}"
    if left_out := sum(sample["left_out"] for sample in samples):
        bare = sum(bool(sample["left_out"] and not sample["others"]) for sample in samples)
        yield (
            f"likelihood: {counted(left_out, 'comparison')} with other users left out, as no item of one "
            f"persona fits into the prompt; texts with none left: {bare}"
        )
