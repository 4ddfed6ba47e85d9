"""Ranks by BM25 of the words that items share with the request."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.api import Example
from perbench.contracts.persona import COMPARES, Compared, Models, Ranking, Rankings
from perbench.persona.retrieve import by_score, query_of
from perbench.prompts.persona import rendered


class BM25(Ranking[Compared]):
    Keys = Compared
    reads = COMPARES
    requires = ("rank_bm25", "bm25")
    version = 1

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        keys = self.keys
        return [
            by_score(bm25(query_of(example.question, keys), rendered(text, example))) for example in examples
        ]


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """BM25Okapi of rank_bm25 over whitespace tokens, as in LongLaMP."""
    from rank_bm25 import BM25Okapi

    words = [text.split() for text in texts]
    if not any(words):
        return [0.0] * len(texts)
    scores: list[float] = BM25Okapi(words).get_scores(query.split()).tolist()
    return scores
