"""BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacrebleu: corpus level, 0-100.

Neither is a mean over samples, so the interval resamples users and computes the corpus score of each draw
from the sums of their sufficient statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perbench.metrics.base import Measured, Texts
from perbench.stats import Floats, bootstrap_interval, cluster_numbers
from perbench.store.record import Metric

RESAMPLES = 1000


def measure(name: str, texts: Texts) -> Measured:
    """The corpus score with its 95% interval; there are no per-sample scores."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    scorer: Any = BLEU(force=True) if name == "bleu" else CHRF()
    scorer.num_refs = 1
    signature = f"{name}|{scorer.get_signature()}"
    predictions, references = list(texts.predictions), [list(texts.references)]
    if not predictions:
        return Measured(Metric(value=None, n=0, signature=signature))
    # These two private methods are what sacrebleu's own significance tests use, alike for both metrics.
    statistics = np.array(scorer._extract_corpus_statistics(predictions, references))

    def score(sums: np.ndarray[Any, Any]) -> float:
        return float(scorer._compute_score_from_stats(sums.tolist()).score)

    return Measured(
        Metric(
            value=float(scorer.corpus_score(predictions, references).score),
            ci=interval(statistics, texts.clusters, score),
            n=len(predictions),
            signature=signature,
        )
    )


def interval(
    statistics: np.ndarray[Any, Any], clusters: Sequence[str], score: Callable[[np.ndarray[Any, Any]], float]
) -> tuple[float, float] | None:
    """Percentile interval of `score(sum of rows)` over draws of whole clusters; None below two clusters.

    Args:
        statistics: [samples, K] sufficient statistics that add up over samples.
    """
    of, names = cluster_numbers(clusters)
    sums = np.zeros((len(names), statistics.shape[1]))
    np.add.at(sums, of, statistics)

    def scores(times: Floats) -> Floats:
        return np.array([score(drawn) for drawn in (times @ sums).astype(np.int64)])

    return bootstrap_interval(scores, len(names), resamples=RESAMPLES)
