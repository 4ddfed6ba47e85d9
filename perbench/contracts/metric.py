"""A metric of answers: one file `metrics/NAME.py`, or one with a literal `names` of several."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from perbench.contracts.base import Owner
from perbench.errors import CellError
from perbench.errors import MetricAbsent as MetricAbsent
from perbench.store.record import Better, Metric

if TYPE_CHECKING:
    from perbench.stats.spread import Floats, Spread, Statistic


@dataclass(frozen=True)
class Scale:
    """How to read a metric's values: which are better (None: neither), and their range."""

    better: Better | None = "higher"
    bounds: tuple[float, float] = (float("-inf"), float("inf"))

    def __post_init__(self) -> None:
        known = [*get_args(Better), None]
        if self.better not in known:
            raise ValueError(f"better: got {self.better!r}; give one of {', '.join(map(repr, known))}")
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"bounds: got ({low:g}, {high:g}); give the lowest value, then the highest")

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range, up to rounding; NaN never does."""
        low, high = self.bounds
        return low - 1e-9 <= value <= high + 1e-9

    def check(self, metric: str, values: Iterable[float | None]) -> None:
        """A value outside the range would be compared and shown as if it were right.

        Raises:
            CellError: there is one.
        """
        for value in values:
            if value is not None and not self.holds(value):
                low, high = self.bounds
                raise CellError(
                    f"metric {metric}: the value {value} is outside its range {low:g} to {high:g}, the "
                    "bounds of its scale"
                )

    @property
    def recorded(self) -> tuple[float | None, float | None] | None:
        """Its bounds in the form of `Metric.bounds`."""
        low, high = (bound if isfinite(bound) else None for bound in self.bounds)
        return None if low is None and high is None else (low, high)


UNIT = Scale(bounds=(0.0, 1.0))
"""A share or an F-measure."""
UNKNOWN = Scale()


@dataclass(frozen=True)
class Texts:
    """Answers to score. All lists have one entry per sample, in order."""

    predictions: Sequence[str]
    references: Sequence[str]
    clusters: Sequence[str]
    """The user of each sample: intervals are over users."""
    truncated: Sequence[bool]
    """Whether the answer was truncated at max_new_tokens."""
    missing: Sequence[str | None] = ()
    """Why there is no answer, or None; empty if none is missing. Metrics never see missing answers:
    `score_texts` leaves them out."""


@dataclass(frozen=True)
class Measured:
    """A mean over samples has `per_sample`, a corpus-level metric `sums`: sufficient statistics that add up
    over samples (`TextMetric.of_sums`), None for a sample that is left out. With neither, gains have no
    interval."""

    metric: Metric
    per_sample: list[float | None] | None = None
    sums: list[list[float] | None] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    """For the record, such as {"unparsed": 3}; metrics that count the same use the same name."""
    notes: Sequence[str] = ()
    """Caveats shown beside the number; equal ones of several metrics are shown once."""


def mean_metric(
    values: Sequence[float | None],
    clusters: Sequence[str],
    signature: str,
    why: Sequence[str | None] | None = None,
    *,
    scale: Scale = UNKNOWN,
) -> Metric:
    """Mean over the scored samples with its 95% interval over users (docs/statistics.md).

    Args:
        why: why a sample has no score; ignored for scored ones.
        scale: must be given if scores are only 0 or 1 but not wrong and right (ratings, counts), because
            proportions have another interval.
    """
    from perbench.stats.spread import mean_spread, share_interval, user_sums

    scored = [(value, user) for value, user in zip(values, clusters, strict=True) if value is not None]
    reasons = Counter(
        reason
        for value, reason in zip(values, why or [None] * len(values), strict=True)
        if value is None and reason is not None
    )
    n = len(scored)
    counted: dict[str, Any] = {
        "n": n,
        "missing": len(values) - n,
        "why": dict(sorted(reasons.items())),
        "signature": signature,
    }
    if not scored:
        return Metric(value=None, users=0, **counted)
    sums = user_sums([(value, 1.0) for value, _ in scored], [user for _, user in scored])
    value, spread = sum(value for value, _ in scored) / n, mean_spread(*sums.T)
    share = scale.bounds in (UNIT.bounds, UNKNOWN.bounds) and all(value in (0, 1) for value, _ in scored)
    if spread is not None and share:
        ci = share_interval(value, spread, n, len(sums))
        bounds = UNIT.recorded
        return Metric(value=value, ci=ci, ci_method="wilson-t", users=len(sums), bounds=bounds, **counted)
    return _measured(value, spread, len(sums), scale, counted)


def _measured(
    value: float, spread: Spread | None, users: int, scale: Scale, counted: dict[str, Any]
) -> Metric:
    found = Metric(value=value, users=users, bounds=scale.recorded, **counted)
    ci = found.clipped(spread.interval(value)) if spread is not None else None
    return found.model_copy(update={"ci": ci, "ci_method": "jackknife-t" if ci else None})


def left_out_metric(
    value: float | None, left_out: Floats, sizes: Floats, scale: Scale = UNKNOWN, **counted: Any
) -> Metric:
    """Any statistic with its interval, from its values without each user in turn.

    Args:
        left_out: [G] these values, nan if undefined.
        sizes: [G] the weights of users: samples, or units counted.
        counted: the other fields of `Metric`.
    """
    from perbench.stats.spread import jackknife

    users = int((sizes > 0).sum())
    if value is None or value != value:
        return Metric(value=None, users=users, **counted)
    return _measured(value, jackknife(value, left_out, sizes), users, scale, counted)


def summed_metric(
    statistic: Statistic,
    rows: Sequence[Sequence[float]] | Floats,
    clusters: Sequence[str],
    *,
    sizes: Sequence[float] | None = None,
    scale: Scale = UNKNOWN,
    **counted: Any,
) -> Metric:
    """A corpus-level metric: a statistic of summed numbers of the samples, with its interval over users.

    Args:
        statistic: from sums [B, K] to values [B], nan if undefined.
        rows: [N, K] the numbers of each sample.
        sizes: [N] the weight of each sample, by default equal; samples of weight 0 are not counted.
        counted: the other fields of `Metric`.
    """
    import numpy as np

    from perbench.stats.spread import left_out, user_sums

    if not len(rows):
        return Metric(value=None, users=0, **counted)
    weights = np.ones(len(rows)) if sizes is None else np.asarray(sizes, dtype=np.float64)
    sums = user_sums(np.column_stack([weights, np.asarray(rows, dtype=np.float64)]), clusters)
    value, left = left_out(statistic, sums[:, 1:])
    return left_out_metric(value, left, sums[:, 0], scale, **counted)


def rows_metric(
    statistic: Statistic,
    rows: Sequence[Sequence[float] | None],
    clusters: Sequence[str],
    signature: str,
    why: Sequence[str | None] | None = None,
    *,
    scale: Scale = UNKNOWN,
) -> Metric:
    """`summed_metric` of the samples that have a row; the others are missing. `why` as in `mean_metric`."""
    there = [(row, user) for row, user in zip(rows, clusters, strict=True) if row is not None]
    reasons = Counter(
        reason
        for row, reason in zip(rows, why or [None] * len(rows), strict=True)
        if row is None and reason is not None
    )
    return summed_metric(
        statistic,
        [row for row, _ in there],
        [user for _, user in there],
        scale=scale,
        n=len(there),
        missing=len(rows) - len(there),
        why=dict(sorted(reasons.items())),
        signature=signature,
    )


class TextMetric(Owner[Any]):
    """Computes one metric, or several of one kind, from stored answers. `Keys` are keys of a task, which only
    scores depend on; `spec` is the task, or None where only what the class declares is read."""

    names: ClassVar[tuple[str, ...]] = ()
    """The metrics' names if the file defines several. A literal: it is read without import."""
    scale: ClassVar[Scale] = UNIT
    titles: ClassVar[Mapping[str, str]] = {}
    """Names as readers know them, with the unit after a comma: {"rougeL": "ROUGE-L"}."""

    def __init__(self, spec: Any = None) -> None:
        super().__init__(spec)

    def reference_faults(self, reference: str) -> Iterator[str]:
        """Why it cannot measure answers beside this reference of a row: each the predicate of a sentence, "is
        'x', which is not among labels; ..."."""
        return iter(())

    def signature(self, name: str) -> str:
        """The signature of what `measure` returns, of a metric with `Keys`: by it numbers are recognised that
        were computed under other values of them. "" for others."""
        return ""

    @abstractmethod
    def measure(self, name: str, texts: Texts) -> Measured:
        """Values of stored answers; pure.

        Args:
            name: the requested one of `names`.

        Raises:
            MetricAbsent: its data are not on this machine.
        """

    def of_sums(self, name: str, sums: Floats) -> Floats:
        """Values [B] of a corpus-level metric from summed `Measured.sums` [B, K], nan if undefined."""
        raise NotImplementedError(f"metric {name} is not computed from sums")
