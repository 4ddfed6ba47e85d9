"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004): F-measure by rouge_score without stemmer, as LongLaMP reports it.

rougeL is over the whole text, not rougeLsum. Numbers with a stemmer are not comparable.
"""

from __future__ import annotations

from importlib.metadata import version

from perbench.metrics.base import Measured, Texts, mean_metric


def measure(name: str, texts: Texts) -> Measured:
    """Per-sample F-measure in 0..1 and its mean."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([name], use_stemmer=False)
    values: list[float | None] = [
        float(scorer.score(reference, prediction)[name].fmeasure)
        for prediction, reference in zip(texts.predictions, texts.references, strict=True)
    ]
    signature = f"{name}|f1|stem:no|rouge-score:{version('rouge-score')}"
    return Measured(mean_metric(values, texts.clusters, signature), values)
