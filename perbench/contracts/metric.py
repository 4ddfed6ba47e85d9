"""A metric of answers: one file `metrics/NAME.py`, or one with a literal `names` of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from perbench.errors import MetricAbsent as MetricAbsent
from perbench.store.record import Better, Metric


@dataclass(frozen=True)
class Scale:
    """How to read a metric's values: which are better, None where neither is, and the range they lie in."""

    better: Better | None = "higher"
    bounds: tuple[float, float] = (float("-inf"), float("inf"))

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range, up to rounding; NaN never does."""
        low, high = self.bounds
        return low - 1e-9 <= value <= high + 1e-9


UNIT = Scale(bounds=(0.0, 1.0))
"""A share or an F-measure."""


@dataclass(frozen=True)
class Texts:
    """Answers to score. All lists have one entry per sample, in order."""

    predictions: Sequence[str]
    references: Sequence[str]
    clusters: Sequence[str]
    """The user of each sample: intervals resample users."""
    truncated: Sequence[bool]
    """Whether the answer was cut at max_new_tokens."""
    missing: Sequence[str | None] = ()
    """Why there is no answer, None where there is one; empty where none is missing. Metrics never see a
    missing one: `score_texts` leaves it out."""


@dataclass(frozen=True)
class Measured:
    """`per_sample` is None for corpus-level metrics, which are not a mean over samples."""

    metric: Metric
    per_sample: list[float | None] | None = None


def mean_metric(
    values: Sequence[float | None],
    clusters: Sequence[str],
    signature: str,
    why: Sequence[str | None] | None = None,
) -> Metric:
    """Mean over the scored samples with its 95% bootstrap interval, clustered by user. `why` says of each
    sample why it has no score; what it says of scored ones is not used."""
    from perbench.stats.intervals import mean_interval

    scored = [value for value in values if value is not None]
    reasons = Counter(
        reason
        for value, reason in zip(values, why or [None] * len(values), strict=True)
        if value is None and reason is not None
    )
    return Metric(
        value=sum(scored) / len(scored) if scored else None,
        ci=mean_interval(values, clusters),
        n=len(scored),
        missing=len(values) - len(scored),
        why=dict(sorted(reasons.items())),
        signature=signature,
    )


class TextMetric(ABC):
    """Computes one metric, or several in the same way, from stored answers."""

    names: ClassVar[tuple[str, ...]] = ()
    """The metrics' names where the file defines several. A literal: it is read without importing."""
    scale: ClassVar[Scale] = UNIT

    @abstractmethod
    def measure(self, name: str, texts: Texts) -> Measured:
        """Values of stored answers; pure.

        Args:
            name: which of `names` is asked for.

        Raises:
            MetricAbsent: its data are not on this machine.
        """
