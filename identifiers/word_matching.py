"""Word matching: content words that persona and answer share are personal (PerCE, 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from perbench.api import Identifier, PersonaText, TokenScores
from perbench.errors import PerbenchError


class WordMatching(Identifier):
    """Score 1 for a noun, verb, adjective or adverb of the answer that the persona holds too, else 0.

    Auxiliaries (forms of be, have, do) and negation do not count. Words match when they are equal but for
    case. Tags are NLTK's averaged perceptron's.
    """

    needs_model = False
    threshold: float = 0.5
    tagger: Literal["nltk averaged perceptron, weights of textblob-aptagger 0.2.0"] = (
        "nltk averaged perceptron, weights of textblob-aptagger 0.2.0"
    )
    """Named so that a record says whose tags it rests on."""
    lemma: bool = False
    """Whether words also match that share a WordNet lemma, as any part of speech: "hunting" and "hunt"."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from perbench.nltk_data import tagged_words

        forms = self._forms()
        found = []
        for example in examples:
            persona = {
                form
                for line in example.persona
                for (start, end), content in tagged_words(line)
                if content
                for form in forms(line[start:end].casefold())
            }
            words = tagged_words(example.response)
            scores = [
                float(content and not persona.isdisjoint(forms(example.response[start:end].casefold())))
                for (start, end), content in words
            ]
            found.append(TokenScores(tuple(span for span, _ in words), tuple(scores)))
        return found

    def _forms(self) -> Callable[[str], set[str]]:
        """What a word is compared by."""
        from perbench.metrics.base import MetricAbsent
        from perbench.metrics.wordnet import load

        if not self.lemma:
            return lambda word: {word}
        try:
            reader = load().reader
        except MetricAbsent as error:
            raise PerbenchError(f"word_matching, lemma: {error}") from None
        return lambda word: {word, *filter(None, (reader.morphy(word, pos) for pos in "nvar"))}
