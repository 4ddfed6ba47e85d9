"""Picks and rankings by the scores of options, and those of shortcuts that read no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from .section import Rule

Scores = Sequence[float]


def option_scores(sample: Mapping[str, Any], by: Rule) -> list[float]:
    """What an option is picked by; higher is better."""
    logp, without, tokens = sample["logp"], sample["logp_without"], sample["option_tokens"]
    if by == "per_token":
        return [one / count for one, count in zip(logp, tokens, strict=True)]
    if by == "pmi":
        return [one - other for one, other in zip(logp, without, strict=True)]
    return list(logp)


def scores_without(sample: Mapping[str, Any], by: Rule) -> list[float]:
    """The same from the prompt without persona. PMI has nothing to compare there: the log-prob instead."""
    if by == "per_token":
        return [
            one / count for one, count in zip(sample["logp_without"], sample["option_tokens"], strict=True)
        ]
    return list(sample["logp_without"])


def best(scores: Scores, order: Sequence[int]) -> int:
    """The place of the highest score, of equal ones the first in `order`."""
    return max(order, key=scores.__getitem__)


def shared(scores: Scores, place: int) -> float:
    """How often `place` is picked if equal highest scores are picked equally often."""
    top = max(scores)
    return (scores[place] == top) / sum(score == top for score in scores)


def lengths(options: Sequence[str]) -> list[float]:
    """Characters of each option."""
    return [float(len(option)) for option in options]


def pairwise(scores: Scores, ratings: Scores, threshold: float) -> float | None:
    """The share of pairs, of those whose ratings differ by `threshold` or more, that the scores order as the
    ratings do; equal scores count half. None if no ratings differ so much."""
    right = [
        0.5 if scores[a] == scores[b] else float((scores[a] > scores[b]) == (ratings[a] > ratings[b]))
        for a, b in combinations(range(len(ratings)), 2)
        if ratings[a] != ratings[b] and abs(ratings[a] - ratings[b]) >= threshold
    ]
    return sum(right) / len(right) if right else None


def spearman(scores: Scores, ratings: Scores) -> float | None:
    """Spearman's rank correlation, ties by their mean rank; None if all scores, or all ratings, are equal."""
    a, b = _ranks(scores), _ranks(ratings)
    mean = (len(a) + 1) / 2
    along = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return max(-1.0, min(1.0, float(along / spread**0.5))) if spread else None


def _ranks(values: Scores) -> list[float]:
    return [
        (1 + sum(other < value for other in values) + sum(other <= value for other in values)) / 2
        for value in values
    ]


def writers_means(samples: Sequence[Mapping[str, Any]]) -> list[list[float] | None]:
    """For each sample, its options' scores by who wrote them: the writer's mean rating in the samples of
    other users, or the mean of all ratings there of a writer that they lack. None without writers, or without
    other users."""
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for sample in samples:
        for writer, rating in zip(sample.get("models") or (), sample["ratings"], strict=False):
            total, count = sums.get((sample["user"], writer), (0.0, 0))
            sums[sample["user"], writer] = total + rating, count + 1
    totals: dict[str, tuple[float, int]] = {}
    for (_, writer), (total, count) in sums.items():
        for key in (writer, ""):
            before = totals.get(key, (0.0, 0))
            totals[key] = before[0] + total, before[1] + count
    own: dict[str, tuple[float, int]] = {}
    for (user, _), (total, count) in sums.items():
        before = own.get(user, (0.0, 0))
        own[user] = before[0] + total, before[1] + count

    def mean(user: str, writer: str) -> float | None:
        total, count = totals.get(writer, (0.0, 0))
        less = own.get(user, (0.0, 0)) if not writer else sums.get((user, writer), (0.0, 0))
        return (total - less[0]) / (count - less[1]) if count > less[1] else None

    found: list[list[float] | None] = []
    for sample in samples:
        fallback = mean(sample["user"], "")
        if not sample.get("models") or fallback is None:
            found.append(None)
            continue
        means = [mean(sample["user"], writer) for writer in sample["models"]]
        found.append([fallback if one is None else one for one in means])
    return found
