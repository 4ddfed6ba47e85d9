"""Metrics of stored identification samples, defined in docs/identification.md, "Counting".

All are micro-averaged over the test samples. The suffix `_tuned` marks the threshold with the largest token
F1 on the dev samples; intervals treat it as fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perbench.contracts import missing
from perbench.contracts.metric import UNIT, left_out_metric, summed_metric
from perbench.contracts.resume import Sample
from perbench.contracts.run import Scored
from perbench.stats.curve import Curve
from perbench.stats.spread import Floats, Statistic, user_numbers, user_sums
from perbench.store.record import Metric, Scores
from perbench.text.marks import LEVELS, RULES, Share, read
from perbench.text.scripts import UNSPACED_ANSWER, unspaced

from .names import OWN, TUNED, metric_name

VERSION = "v2"


class Cut(NamedTuple):
    """A threshold per sample: the identifier's own (no suffix), or the one chosen on dev."""

    suffix: str
    thresholds: tuple[float, ...]
    each: bool = False
    """Whether the identifier set one for each response."""

    @property
    def signature(self) -> str:
        values = sorted({f"{value:g}" for value in self.thresholds})
        return f"micro|score>{OWN if self.each else '/'.join(values)}|{VERSION}"


class Samples:
    """Test samples as marks, with their users (personas)."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.marks = [read(sample) for sample in samples]
        self.spaced = [not unspaced(sample["response"]) for sample in samples]
        """Whether the response's script separates words; if not, it has no word and span scores."""
        self.users = [sample["user"] for sample in samples]

    def metric(
        self, rows: Sequence[Sequence[int]], statistic: Statistic, signature: str, *, words: bool = False
    ) -> Metric:
        """`statistic` of the column sums of `rows`, one row of counts per sample; with `words`, only of
        responses whose script separates words."""
        kept = [spaced or not words for spaced in self.spaced]
        counts = np.array(rows, dtype=np.float64) * np.array(kept)[:, None]
        return summed_metric(
            statistic,
            counts,
            self.users,
            sizes=_units(statistic, counts).tolist(),
            scale=UNIT,
            signature=signature,
            **self._counted(kept),
        )

    def average_precision(self, level: str) -> Metric:
        """Of all tokens or words under the rule contained."""
        curve = self.curve(level)
        return left_out_metric(
            curve.average_precision(),
            *curve.left_out(),
            UNIT,
            signature=f"average precision|{level}|contained|{VERSION}",
            **self._counted([spaced or level == "token" for spaced in self.spaced]),
        )

    def _counted(self, kept: Sequence[bool]) -> dict[str, Any]:
        absent = len(kept) - sum(kept)
        return {"n": sum(kept), "missing": absent, "why": {UNSPACED_ANSWER: absent} if absent else {}}

    def curve(self, level: str) -> Curve:
        """The precision-recall curve of all tokens or words under the rule contained."""
        scores: list[float] = []
        correct: list[bool] = []
        cluster: list[int] = []
        gold = []
        numbers, _ = user_numbers(self.users)
        for number, marks, spaced in zip(numbers, self.marks, self.spaced, strict=True):
            if level == "word" and not spaced:
                units = []
            elif level == "token":
                units = [(token.score, token.inside, bool(token.touched)) for token in marks.tokens]
            else:
                pairs = zip(marks.word_scores, marks.word_gold, strict=True)
                units = [(score, bool(of), bool(of)) for score, of in pairs]
            gold.append([float(sum(touched for _, _, touched in units))])
            shown = [(score, right) for score, right, _ in units if score > -np.inf]
            scores += [score for score, _ in shown]
            correct += [right for _, right in shown]
            cluster += [int(number)] * len(shown)
        return Curve(scores, correct, cluster, user_sums(gold, self.users)[:, 0])


def score_samples(samples: Sequence[Sample]) -> Scored:
    """Metrics, per-sample scores and counts of a cell's samples. Examples for which the identifier's model
    gave no answer are left out of all metrics and of the choice of the threshold."""
    tested = [sample for sample in samples if sample["split"] == "test"]
    test = missing.answered(tested)
    dev = missing.answered([sample for sample in samples if sample["split"] == "dev"])
    absent = Counter(why for why in missing.reasons(tested) if why is not None)
    if not test:
        whole = Metric(value=None, n=0, missing=len(tested), why=dict(absent), signature=f"f1|{VERSION}")
        counts = {"samples": len(tested), **missing.counts(tested)}
        return Scored(Scores(ids=[], clusters=[], scores={}), {"f1": whole}, counts)
    found = Samples(test)
    each = any("threshold_of" in sample for sample in test)
    cuts = [Cut("", tuple(sample["threshold"] for sample in test), each)]
    notes = _notes(test)
    curve = Samples(dev).curve("token") if dev else None
    tuned = curve.best_threshold() if curve is not None else None
    if curve is not None and tuned is not None:
        cuts.append(Cut(TUNED, (tuned,) * len(test)))
        if tuned < curve.scores[-1]:
            notes.append("the threshold chosen on dev predicts every token: no other has a larger F1 there")
    else:
        why = "no token of the dev split can be right" if dev else "the task has no dev split"
        notes.append(f"no threshold was chosen: {why}")
    own = cuts[0].thresholds
    metrics = {
        "threshold": Metric(value=max(own), n=len(test), signature="the identifier's own")
        if not each
        else Metric(value=sum(own) / len(own), n=len(test), signature=f"mean of {OWN}")
    }
    if tuned is not None:
        signature = f"largest token F1 on dev|{VERSION}"
        metrics["threshold" + TUNED] = Metric(value=tuned, n=len(dev), signature=signature)
    for level in ("token", "word"):
        metrics[metric_name("average_precision", level)] = found.average_precision(level)
    scores: dict[str, list[float | None]] = {}
    for cut in cuts:
        metrics |= _levels(found, cut) | _breakdowns(found, cut)
        scores |= _per_sample(found, cut)
    sources = [marks.right_sources() for marks in found.marks]
    if any(sample.get("sources") for sample in test) and any(share.whole for share in sources):
        metrics["source_accuracy"] = found.metric(sources, _ratio, f"tokens in gold spans|{VERSION}")
    for cut in cuts:
        if metrics[f"precision{cut.suffix}"].value is None:
            notes.append(f"precision{cut.suffix} has no value: no token was predicted")
    if absent:
        metrics = {
            name: one if name.startswith("threshold") else _with_absent(one, absent)
            for name, one in metrics.items()
        }
    return Scored(
        scores=Scores(
            ids=[sample["id"] for sample in test], clusters=[sample["user"] for sample in test], scores=scores
        ),
        metrics=metrics,
        counts={
            "samples": len(tested),
            **({"dev_samples": len(dev)} if dev else {}),
            **_problems(test),
            **missing.counts(tested),
        },
        notes=notes,
    )


def _with_absent(metric: Metric, absent: Counter[str]) -> Metric:
    why = dict(sorted((Counter(metric.why) + absent).items()))
    return metric.model_copy(update={"missing": metric.missing + absent.total(), "why": why})


def _levels(found: Samples, cut: Cut) -> dict[str, Metric]:
    tallies = [marks.tallies(value) for marks, value in zip(found.marks, cut.thresholds, strict=True)]
    statistics = {"precision": _ratio, "recall": _recall, "f1": _f1}
    metrics = {}
    for level in LEVELS:
        for rule in RULES:
            rows = [tally[level, rule] for tally in tallies]
            for name, statistic in statistics.items():
                signature = f"{name}|{level}|{rule}|{cut.signature}"
                metrics[metric_name(name, level, rule) + cut.suffix] = found.metric(
                    rows, statistic, signature, words=level != "token"
                )
    return metrics


def _breakdowns(found: Samples, cut: Cut) -> dict[str, Metric]:
    """Recall by kind, and false positives on distractors and on responses without gold; only those that occur
    in the data."""
    pairs = list(zip(found.marks, cut.thresholds, strict=True))
    kinds = sorted({gold.kind for marks in found.marks for gold in marks.gold if gold.kind is not None})
    shares: dict[str, list[Share]] = {
        f"recall_{kind}": [marks.kind_recall(kind, value) for marks, value in pairs] for kind in kinds
    }
    shares["false_distractor"] = [marks.false_distractors(value) for marks, value in pairs]
    shares["false_none"] = [marks.false_in_none(value) for marks, value in pairs]
    return {
        name + cut.suffix: found.metric(
            rows, _ratio, f"{name}|{cut.signature}", words=name.startswith("false_")
        )
        for name, rows in shares.items()
        if any(share.whole for share in rows)
    }


def _per_sample(found: Samples, cut: Cut) -> dict[str, list[float | None]]:
    """Token-level scores under the rule contained, for paired comparisons of identifiers."""
    scores: dict[str, list[float | None]] = {}
    tallies = [
        marks.tallies(value)["token", "contained"]
        for marks, value in zip(found.marks, cut.thresholds, strict=True)
    ]
    rows = np.array(tallies, dtype=np.float64).reshape(-1, 4)
    for name, statistic in (("precision", _ratio), ("recall", _recall), ("f1", _f1)):
        scores[name + cut.suffix] = [None if np.isnan(value) else float(value) for value in statistic(rows)]
    scores["tp" + cut.suffix] = [float(tally.correct) for tally in tallies]
    scores["fp" + cut.suffix] = [float(tally.predicted - tally.correct) for tally in tallies]
    scores["fn" + cut.suffix] = [float(tally.gold - tally.found) for tally in tallies]
    return scores


def implied(scores: Scores, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Precision, recall and F1 of tokens under the rule contained, from the counts of each sample."""
    found = {}
    for suffix in ("", TUNED):
        columns = [scores.scores.get(name + suffix) for name in ("tp", "fp", "fn")]
        if any(column is None or None in column for column in columns):
            continue
        right, false, missed = (np.array(column, dtype=np.float64) for column in columns)
        counts = np.column_stack([right, right + false, right, right + missed])
        for name, statistic in (("precision", _ratio), ("recall", _recall), ("f1", _f1)):
            if name + suffix in metrics:
                found[name + suffix] = summed_metric(
                    statistic,
                    counts,
                    scores.clusters,
                    sizes=_units(statistic, counts).tolist(),
                    scale=UNIT,
                    signature=metrics[name + suffix].signature,
                    n=len(scores.ids),
                )
    return found


def _problems(samples: Sequence[Sample]) -> dict[str, int]:
    problems: dict[str, int] = {}
    for sample in samples:
        for key, value in sample["counts"].items():
            problems[key] = problems.get(key, 0) + value
    return problems


def _notes(samples: Sequence[Sample]) -> list[str]:
    unparsable = _problems(samples).get("unparsable")
    if not unparsable:
        return []
    return [f"{unparsable} of {len(samples)} replies hold no list and count as naming nothing"]


# ---------------------------------------------------------------- statistics of sums [B, 4] (Tally) or [B, 2]


def _ratio(sums: Floats) -> Floats:
    """Precision (correct / predicted), or a share."""
    return _divided(sums[:, 0], sums[:, 1])


def _recall(sums: Floats) -> Floats:
    return _divided(sums[:, 2], sums[:, 3])


def _f1(sums: Floats) -> Floats:
    """2PR / (P + R); 0 if something is predicted or gold but nothing is right."""
    correct, predicted, found, gold = sums.T
    some: NDArray[np.bool_] = (correct > 0) & (found > 0)
    bottom = np.where(some, correct * gold + found * predicted, predicted + gold)
    return _divided(np.where(some, 2 * correct * found, 0.0), bottom)


def _units(statistic: Statistic, counts: Floats) -> Floats:
    """How many units [N] each sample brings into a statistic; of F1, right, false and not found."""
    if statistic is _f1:
        found: Floats = counts[:, 1] + counts[:, 3] - counts[:, 2]
        return found
    whole: Floats = counts[:, 3 if statistic is _recall else 1]
    return whole


def _divided(top: Floats, bottom: Floats) -> Floats:
    values = np.full(len(top), np.nan)
    np.divide(top, bottom, out=values, where=bottom > 0)
    return values
