"""BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacrebleu: corpus level, 0-100.

Neither is a mean over samples, so the interval resamples users and computes the corpus score of each draw
from the sums of their sufficient statistics. What neither can read is left out of the corpus and counted: for
chrF an empty reference; for BLEU one without words, or in a script without spaces between them, which its
13a tokens take for one word. Without a reference of four words there is no 4-gram to find, and no BLEU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perbench.contracts.metric import Measured, Scale, TextMetric, Texts
from perbench.stats.intervals import Floats, bootstrap_interval, cluster_numbers
from perbench.store.record import Metric
from perbench.text.scripts import BLANK, SHORT, spaced

RESAMPLES = 1000


class Corpus(TextMetric):
    names = ("bleu", "chrf")
    scale = Scale(bounds=(0.0, 100.0))

    def measure(self, name: str, texts: Texts) -> Measured:
        """The corpus score with its 95% interval over what can be read; there are no per-sample scores."""
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        scorer: Any = BLEU(force=True) if name == "bleu" else CHRF()
        scorer.num_refs = 1
        signature = f"{name}|{scorer.get_signature()}"
        reasons = [_unreadable(name, reference) for reference in texts.references]
        if name == "bleu":
            deep = [max(0, len(scorer.tokenizer(one).split()) - 3) for one in texts.references]
            if not any(count for count, reason in zip(deep, reasons, strict=True) if reason is None):
                reasons = [reason or SHORT for reason in reasons]
        else:
            deep = [1] * len(reasons)
        there = [place for place, reason in enumerate(reasons) if reason is None]
        why = dict(sorted(Counter(reason for reason in reasons if reason is not None).items()))
        if not there:
            return Measured(Metric(value=None, n=0, missing=len(reasons), why=why, signature=signature))
        predictions, references = (
            [of[place] for place in there] for of in (texts.predictions, texts.references)
        )
        # These two private methods are what sacrebleu's own significance tests use, alike for both metrics.
        found = np.array(scorer._extract_corpus_statistics(predictions, [references]))
        statistics = np.column_stack([found, [deep[place] for place in there]])

        def score(sums: np.ndarray[Any, Any]) -> float:
            if not sums[-1]:
                return float("nan")  # a draw that holds no 4-gram to find
            return float(scorer._compute_score_from_stats(sums[:-1].tolist()).score)

        return Measured(
            Metric(
                value=float(scorer.corpus_score(predictions, [references]).score),
                ci=interval(statistics, [texts.clusters[place] for place in there], score),
                n=len(there),
                missing=len(reasons) - len(there),
                why=why,
                signature=signature,
            )
        )


def _unreadable(name: str, reference: str) -> str | None:
    if name == "bleu":
        return spaced(reference)
    return None if reference.strip() else BLANK


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
