"""Whether two judges, or one judge asked twice, rate alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perbench.stats.intervals import Floats, bootstrap_interval, cluster_numbers
from perbench.stats.kappa import cohen_kappa
from perbench.store.record import Metric

RATINGS = 5


def judge_agreement(
    first: Sequence[int | None], second: Sequence[int | None], clusters: Sequence[str], signature: str
) -> dict[str, Metric]:
    """Cohen's kappa of ratings 1-5, plain (`judge_kappa`) and with quadratic weights
    (`judge_weighted_kappa`), over what both rated; 95% bootstrap intervals, whole clusters resampled."""
    both = [
        (a, b, cluster)
        for a, b, cluster in zip(first, second, clusters, strict=True)
        if a is not None and b is not None
    ]
    of, names = cluster_numbers([cluster for _, _, cluster in both])
    tables = np.zeros((len(names), RATINGS, RATINGS))
    for (a, b, _), cluster in zip(both, of, strict=True):
        tables[cluster, a - 1, b - 1] += 1

    metrics = {}
    for name, weights in (("judge_kappa", "none"), ("judge_weighted_kappa", "quadratic")):

        def statistic(times: Floats, weights: str = weights) -> Floats:
            return cohen_kappa(np.tensordot(times, tables, axes=1), weights)  # type: ignore[arg-type]

        value = float(statistic(np.ones((1, len(names))))[0])
        metrics[name] = Metric(
            value=None if np.isnan(value) else value,
            ci=bootstrap_interval(statistic, len(names)),
            n=len(both),
            missing=len(clusters) - len(both),
            signature=f"{name}|weights:{weights}|{signature}",
        )
    return metrics
