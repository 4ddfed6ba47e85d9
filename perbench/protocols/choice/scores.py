"""Scores of stored picks and rankings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perbench.contracts import adapters, missing
from perbench.contracts.metric import UNIT, Scale, mean_metric
from perbench.contracts.run import Scored
from perbench.store.record import Scores

from .replies import picks
from .rules import (
    best,
    lengths,
    option_scores,
    pairwise,
    scores_without,
    shared,
    spearman,
    writers_means,
)
from .section import ChoiceSpec

Sample = Any
Value = float | None
Columns = dict[str, list[Value]]

BESIDE = Scale(better=None, bounds=(0.0, 1.0))
"""Of what a method cannot change: chance and shortcuts."""
DIFFERENCE = Scale(bounds=(-1.0, 1.0))
PICKED = {
    "accuracy": UNIT,
    "no_persona": UNIT,
    "gain": DIFFERENCE,
    "chance": BESIDE,
    "longest": BESIDE,
    "shortest": BESIDE,
    "first": BESIDE,
}
UNPARSED = {"unparsed": Scale(better="lower", bounds=(0.0, 1.0))}
RANKED = {
    "pairwise": UNIT,
    "pairwise_no_persona": UNIT,
    "pairwise_gain": DIFFERENCE,
    "pairwise_longest": BESIDE,
    "pairwise_writer": BESIDE,
    "top1": UNIT,
    "top1_no_persona": UNIT,
    "top1_chance": BESIDE,
    "spearman": Scale(bounds=(-1.0, 1.0)),
    "rating": Scale(),
    "rating_mean": Scale(better=None),
    "rating_best": Scale(better=None),
}
"""Bounds of ratings are those of the task's scale (`scales`)."""


def scales(spec: ChoiceSpec) -> dict[str, Scale]:
    """The metrics, and how to read each."""
    if spec.rated is None:
        return PICKED | (UNPARSED if spec.by == "reply" else {})
    low, high = spec.rated.scale
    return {
        name: Scale(scale.better, (low, high)) if name.startswith("rating") else scale
        for name, scale in RANKED.items()
    }


def score(spec: ChoiceSpec, samples: Sequence[Sample]) -> Scored:
    there = missing.answered(samples)
    columns = _ranked(spec, there) if spec.rated is not None else _picked(spec, there)
    places = iter(range(len(there)))
    at = [next(places) if missing.reason(sample) is None else None for sample in samples]
    known = scales(spec)
    values = {name: [None if place is None else columns[name][place] for place in at] for name in known}
    users = [sample["user"] for sample in samples]
    gone = missing.reasons(samples)
    return Scored(
        scores=Scores(ids=[sample["id"] for sample in samples], clusters=users, scores=values),
        metrics={
            name: mean_metric(
                column,
                users,
                signature(spec, name),
                [why or WITHOUT.get(name, "undefined") for why in gone],
                scale=known[name],
            )
            for name, column in values.items()
        },
        counts={
            "samples": len(samples),
            "persona_items_kept": sum(sample["persona_kept"] for sample in there),
            "persona_items_trimmed": sum(sample["persona_trimmed"] for sample in there),
            **missing.counts(samples),
            **adapters.counts(samples),
            **_replies(spec, there)[0],
        },
        notes=[
            *([PMI] if spec.by == "pmi" else []),
            *_replies(spec, there)[1],
            *adapters.notes(samples, "choices"),
        ],
    )


PMI = (
    "scores with the persona are by PMI, those without it by the log-prob, since PMI is 0 there: their "
    "difference is not what the persona adds"
)
WITHOUT = {
    "pairwise": "no ratings differ enough",
    "pairwise_no_persona": "no ratings differ enough",
    "pairwise_gain": "no ratings differ enough",
    "pairwise_longest": "no ratings differ enough",
    "pairwise_writer": "no writers, or no ratings differ enough",
    "spearman": "all scores or ratings are equal",
}
"""Why a sample has no value of a metric."""


def signature(spec: ChoiceSpec, name: str) -> str:
    parts = [f"{name}|choice|by:{spec.by}"]
    if spec.turns:
        parts.append(f"turns:{spec.turns}")
    if spec.by == "reply":
        parts += [f"permutations:{spec.permutations}", f"read:{spec.reply.read}"]
    if spec.rated is not None:
        parts.append(f"threshold:{spec.rated.threshold:g}")
    return "|".join(parts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# ---------------------------------------------------------------- one right option


def _picked(spec: ChoiceSpec, samples: Sequence[Sample]) -> Columns:
    right = _by_reply if spec.by == "reply" else _by_logp
    own = [right(spec, sample, False) for sample in samples]
    free = [right(spec, sample, True) for sample in samples]
    found: Columns = {
        "accuracy": list(own),
        "no_persona": list(free),
        "gain": [a - b for a, b in zip(own, free, strict=True)],
        "chance": [1 / len(sample["options"]) for sample in samples],
        "longest": [shared(lengths(sample["options"]), sample["gold"]) for sample in samples],
        "shortest": [
            shared([-length for length in lengths(sample["options"])], sample["gold"]) for sample in samples
        ],
        "first": [
            _mean([float(order[0] == sample["gold"]) for order in sample["orders"]]) for sample in samples
        ],
    }
    if spec.by == "reply":
        found["unparsed"] = [
            _mean([float(not named) for named in _named(spec, sample, "replies")]) for sample in samples
        ]
    return found


def _by_logp(spec: ChoiceSpec, sample: Sample, without: bool) -> float:
    scores = (scores_without if without else option_scores)(sample, spec.by)
    return float(best(scores, sample["orders"][0]) == sample["gold"])


def _by_reply(spec: ChoiceSpec, sample: Sample, without: bool) -> float:
    named = _named(spec, sample, "replies_without" if without else "replies")
    return _mean([float(sample["gold"] in places) for places in named])


def _named(spec: ChoiceSpec, sample: Sample, key: str) -> list[set[int]]:
    """The places in the row that each reply may be said to name."""
    return [
        {order[place] for place in picks(spec.reply.read, reply, len(order))}
        for reply, order in zip(sample[key], sample["orders"], strict=True)
    ]


def _replies(spec: ChoiceSpec, samples: Sequence[Sample]) -> tuple[dict[str, int], list[str]]:
    """Counts and notes about replies that name no option."""
    if spec.by != "reply":
        return {}, []
    read = [named for sample in samples for named in _named(spec, sample, "replies")]
    unparsed = sum(not named for named in read)
    note = f"{unparsed} of {len(read)} replies name no option, and count as wrong"
    return {"replies": len(read), "unparsed": unparsed}, [note] if unparsed else []


# ---------------------------------------------------------------- rated options


def _ranked(spec: ChoiceSpec, samples: Sequence[Sample]) -> Columns:
    assert spec.rated is not None
    threshold = spec.rated.threshold

    def pairs(scores: Sequence[Sequence[float] | None]) -> list[Value]:
        return [
            None if one is None else pairwise(one, sample["ratings"], threshold)
            for one, sample in zip(scores, samples, strict=True)
        ]

    own = [option_scores(sample, spec.by) for sample in samples]
    free = [scores_without(sample, spec.by) for sample in samples]
    top = [best(scores, sample["orders"][0]) for scores, sample in zip(own, samples, strict=True)]
    top_free = [best(scores, sample["orders"][0]) for scores, sample in zip(free, samples, strict=True)]
    found: Columns = {
        "pairwise": pairs(own),
        "pairwise_no_persona": pairs(free),
        "pairwise_longest": pairs([lengths(sample["options"]) for sample in samples]),
        "pairwise_writer": pairs(writers_means(samples)),
        "top1": [_chosen(sample, place) for sample, place in zip(samples, top, strict=True)],
        "top1_no_persona": [_chosen(sample, place) for sample, place in zip(samples, top_free, strict=True)],
        "top1_chance": [1 / len(sample["options"]) for sample in samples],
        "spearman": [
            spearman(scores, sample["ratings"]) for scores, sample in zip(own, samples, strict=True)
        ],
        "rating": [sample["ratings"][place] for sample, place in zip(samples, top, strict=True)],
        "rating_mean": _each(samples, _mean),
        "rating_best": _each(samples, max),
    }
    found["pairwise_gain"] = [
        None if a is None or b is None else a - b
        for a, b in zip(found["pairwise"], found["pairwise_no_persona"], strict=True)
    ]
    return found


def _chosen(sample: Sample, place: int) -> float:
    return float(sample["options"][place] == sample["reference"])


def _each(samples: Sequence[Sample], of: Callable[[Sequence[float]], float]) -> list[Value]:
    return [of(sample["ratings"]) for sample in samples]
