"""All content words: what a reader gets who marks every noun, verb, adjective and adverb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from perbench.api import Identifier, PersonaText, TokenScores


class ContentWords(Identifier):
    """Score 1 for every content word of the answer, whatever the persona says."""

    needs_model = False
    threshold: float = 0.5
    tagger: Literal["nltk averaged perceptron, weights of textblob-aptagger 0.2.0"] = (
        "nltk averaged perceptron, weights of textblob-aptagger 0.2.0"
    )
    """Named so that a record says whose tags it rests on."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from perbench.nltk_data import tagged_words

        tagged = [tagged_words(example.response) for example in examples]
        return [
            TokenScores(tuple(span for span, _ in words), tuple(float(content) for _, content in words))
            for words in tagged
        ]
