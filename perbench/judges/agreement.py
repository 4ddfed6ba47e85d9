"""Agreement between two judges, or between two passes of one judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from perbench.contracts.metric import Scale, summed_metric
from perbench.stats.kappa import cohen_kappa
from perbench.stats.spread import Statistic
from perbench.store.record import Metric

RATINGS = 5
AGREEMENT = Scale(bounds=(-1.0, 1.0))


def judge_agreement(
    first: Sequence[int | None], second: Sequence[int | None], clusters: Sequence[str], signature: str
) -> dict[str, Metric]:
    """Cohen's kappa of ratings 1-5, unweighted (`judge_kappa`) and with quadratic weights
    (`judge_weighted_kappa`), over samples rated by both, with 95% intervals over users."""
    both = [
        (a, b, cluster)
        for a, b, cluster in zip(first, second, clusters, strict=True)
        if a is not None and b is not None
    ]
    rows = np.zeros((len(both), RATINGS, RATINGS))
    for row, (a, b, _) in zip(rows, both, strict=True):
        row[a - 1, b - 1] = 1
    weightings: dict[str, Literal["none", "quadratic"]] = {
        "judge_kappa": "none",
        "judge_weighted_kappa": "quadratic",
    }

    def kappa(weights: Literal["none", "quadratic"]) -> Statistic:
        return lambda sums: cohen_kappa(sums.reshape(-1, RATINGS, RATINGS), weights)

    return {
        name: summed_metric(
            kappa(weights),
            rows.reshape(len(both), RATINGS**2),
            [cluster for _, _, cluster in both],
            scale=AGREEMENT,
            n=len(both),
            missing=len(clusters) - len(both),
            signature=f"{name}|weights:{weights}|{signature}",
        )
        for name, weights in weightings.items()
    }
