"""my_identifier: describe the method in this line, for `perbench ls`; then its source, by equation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.api import Identifier, PersonaText, TokenScores

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine


class MyIdentifier(Identifier):
    """Score 1 for a word of the answer that also occurs in the persona and is long enough, else 0."""

    needs_model = False  # True to get the engine and the prompts' token ids

    threshold: float = 0.5
    min_letters: int = 4

    def score(self, examples: Sequence[PersonaText], engine: Engine | None) -> list[TokenScores]:
        found = []
        for example in examples:
            persona = {word.casefold() for line in example.persona for word in re.findall(r"\w+", line)}
            words = list(re.finditer(r"\w+", example.response))
            shared = [len(word[0]) >= self.min_letters and word[0].casefold() in persona for word in words]
            found.append(TokenScores(tuple(word.span() for word in words), tuple(map(float, shared))))
        return found
