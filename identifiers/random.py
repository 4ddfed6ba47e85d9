"""Random scores: the floor that every method has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class Random(Identifier):
    """Score: uniform in [0, 1), drawn for each word from `seed`, the example's id and the word's place."""

    needs_model = False
    threshold: float = 0.5
    seed: int = 0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import random

        from perbench.words import word_spans

        found = []
        for example in examples:
            draw = random.Random(f"{self.seed}/{example.id}").random
            words = word_spans(example.response)
            found.append(TokenScores(tuple(words), tuple(draw() for _ in words)))
        return found
