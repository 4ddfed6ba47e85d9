"""Tests between identifiers on the same examples, and the ranks that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perbench.contracts.results import Entry
from perbench.stats.paired import ALPHA, Aligned, Method, Sampled
from perbench.stats.spread import Floats, holm, rank_ranges

COUNTED = ("tp", "fp", "fn")
"""Tokens of each sample: right, false and not found."""


@dataclass(frozen=True)
class Ranks:
    """By identity of the record: the ranks that tests of all pairs leave. `tested` counts pairs with a test,
    `separated` those that it tells apart."""

    ranks: dict[str, tuple[int, int]]
    examples: int
    tested: int
    separated: int


def ranks_of(entries: Sequence[Entry], suffix: str) -> Ranks:
    """By F1 of tokens at the identifiers' own thresholds, or at those that `suffix` names; corrected over all
    pairs. No ranks with a single identifier or without a test."""
    methods = {entry.record.identity: found for entry in entries if (found := _method(entry, suffix))}
    table, names = Aligned(list(methods.values())), list(methods)
    pairs = list(table.pairs())
    p = [chance for *_, chance in pairs if chance is not None]
    examples = max((len(method.seeds[0].ids) for method in methods.values()), default=0)
    if not p:
        return Ranks({}, examples, 0, 0)
    ranks = rank_ranges(pairs, len(names))
    separated = int((holm(p) <= ALPHA).sum())
    return Ranks(dict(zip(names, ranks, strict=True)), examples, len(p), separated)


def _method(entry: Entry, suffix: str) -> Method | None:
    scores = entry.scores
    if scores is None or not all(name + suffix in scores.scores for name in COUNTED):
        return None
    counts = np.array([scores.scores[name + suffix] for name in COUNTED], dtype=np.float64).T
    return Method([Sampled(scores.ids, scores.clusters, counts)], trained=False, statistic=_f1)


def _f1(sums: Floats) -> Floats:
    """2 tp / (2 tp + fp + fn) of sums [B, 3]; nan if nothing is predicted or gold."""
    right, false, missed = sums.T
    values = np.full(len(sums), np.nan)
    bottom = 2 * right + false + missed
    np.divide(2 * right, bottom, out=values, where=bottom > 0)
    return values
