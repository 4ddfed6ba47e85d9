"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004): F-measure by rouge_score without stemmer, as LongLaMP reports it.

rougeL is over the whole text, unlike rougeLsum. Scores with a stemmer are not comparable. rouge_score reads
only a-z and digits, so a reference in other letters would always score 0; it has no score here. Neither has a
one-word reference under ROUGE-2.
"""

from __future__ import annotations

from importlib.metadata import version
from types import MappingProxyType

from perbench.contracts.metric import Measured, TextMetric, Texts, mean_metric
from perbench.text.scripts import SHORT, latin


class Rouge(TextMetric):
    names = ("rouge1", "rouge2", "rougeL")
    titles = MappingProxyType({"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"})

    def measure(self, name: str, texts: Texts) -> Measured:
        """Per-sample F-measure in 0..1 and its mean; None if the reference is unreadable."""
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        scorer = RougeScorer([name], use_stemmer=False)
        words = DefaultTokenizer(use_stemmer=False).tokenize

        def unreadable(reference: str) -> str | None:
            why = latin(reference)
            return SHORT if why is None and name == "rouge2" and len(words(reference)) < 2 else why

        why = [unreadable(reference) for reference in texts.references]
        values = [
            float(scorer.score(reference, prediction)[name].fmeasure) if reason is None else None
            for prediction, reference, reason in zip(texts.predictions, texts.references, why, strict=True)
        ]
        signature = f"{name}|f1|stem:no|unreadable:missing|rouge-score:{version('rouge-score')}"
        return Measured(mean_metric(values, texts.clusters, signature, why, scale=self.scale), values)
