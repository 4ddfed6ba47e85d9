"""Word matching: content words that persona and answer share are personal (PerCE, 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from perbench.api import Identifier, PersonaText, TokenScores


class WordMatching(Identifier):
    """Score 1 for a noun, verb, adjective or adverb of the answer that the persona holds too, else 0.

    Auxiliaries (forms of be, have, do) and negation do not count. Words match when they are equal but for
    case; nothing is stemmed. Tags are NLTK's averaged perceptron's.
    """

    needs_model = False
    threshold: float = 0.5
    tagger: Literal["nltk averaged perceptron, weights of textblob-aptagger 0.2.0"] = (
        "nltk averaged perceptron, weights of textblob-aptagger 0.2.0"
    )
    """Named so that a record says whose tags it rests on."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from perbench.nltk_data import tagged_words

        found = []
        for example in examples:
            persona = {
                line[start:end].casefold()
                for line in example.persona
                for (start, end), content in tagged_words(line)
                if content
            }
            words = tagged_words(example.response)
            scores = [
                float(content and example.response[start:end].casefold() in persona)
                for (start, end), content in words
            ]
            found.append(TokenScores(tuple(span for span, _ in words), tuple(scores)))
        return found
