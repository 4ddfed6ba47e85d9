"""Long words are personal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class LongWords(Identifier):
    """The score of a word is its number of letters."""

    needs_model = False
    threshold: float = 6.0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        words = [list(re.finditer(r"\w+", example.response)) for example in examples]
        return [
            TokenScores(tuple(word.span() for word in row), tuple(float(len(word[0])) for word in row))
            for row in words
        ]
