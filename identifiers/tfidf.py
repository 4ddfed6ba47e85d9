"""TF-IDF: words of the answer that are typical of this persona among all personas (Spärck Jones, 1972)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class TfIdf(Identifier):
    """Score of a word: tf(w, persona) ln(n / df(w)), over the n personas of the data set; 0 when the
    persona lacks it.

    Words are compared by their stem (NLTK's Porter stemmer). Nothing is tagged and there is no stop list: the
    background says which words are common. A word that every persona holds scores 0.
    """

    needs_model = False
    threshold: float = 1.0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import math
        from functools import lru_cache

        from nltk.stem.porter import PorterStemmer

        from perbench.words import word_spans

        stem = lru_cache(maxsize=None)(PorterStemmer().stem)

        def stems(text: str) -> list[str]:
            return [stem(text[start:end]) for start, end in word_spans(text)]

        personas = {one for example in examples for one in (*example.background, example.persona)}
        bags = {persona: Counter(stems("\n".join(persona))) for persona in personas}
        documents = Counter(word for bag in bags.values() for word in bag)
        found = []
        for example in examples:
            counted = bags[example.persona]
            scores = [
                counted[word] * math.log(len(bags) / documents[word]) if word in counted else 0.0
                for word in stems(example.response)
            ]
            found.append(TokenScores(tuple(word_spans(example.response)), tuple(scores)))
        return found
