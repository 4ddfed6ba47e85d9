"""perbench's metrics where lm-eval aggregates: per document, then over all documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from perbench.contracts.run import Scored

log = logging.getLogger("lm_eval.perbench")
Score = Callable[[Sequence[Mapping[str, Any]]], Scored]


class DocumentValue(float):
    """A document's value of a metric, with its samples: corpus metrics are no means of values."""

    samples: Sequence[Mapping[str, Any]] = ()


def values(
    score: Score, metrics: Sequence[str], samples: Sequence[Mapping[str, Any]]
) -> dict[str, DocumentValue]:
    """A document's values, nan where a metric has none; metrics whose data are not on this machine are left
    out."""
    scored = score(samples)
    found = {}
    for name in metrics:
        if name in scored.metrics:
            value = scored.metrics[name].value
            found[name] = DocumentValue("nan" if value is None else value)
            found[name].samples = samples
    return found


def aggregate(score: Score, metric: str, items: Sequence[DocumentValue]) -> float:
    """The metric over all documents, as perbench computes it."""
    scored = _scored(score, tuple(map(_Same, items)))
    found = scored.metrics.get(metric)
    return float("nan") if found is None or found.value is None else found.value


class _Same:
    """Documents are the same for all metrics of a task, so that one scoring serves them."""

    def __init__(self, item: DocumentValue) -> None:
        self.samples = item.samples

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.samples is self.samples

    def __hash__(self) -> int:
        return id(self.samples)


@lru_cache(maxsize=1)
def _scored(score: Score, items: tuple[_Same, ...]) -> Scored:
    scored = score([sample for item in items for sample in item.samples])
    for note in scored.notes:
        log.warning("%s", note)
    return scored
