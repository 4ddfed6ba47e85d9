"""my_ranking: describe in this line which items come first, for `perbench ls`; then the method's source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from perbench.contracts.data import Example
from perbench.contracts.persona import COMPARES, Models, Ranking, Rankings
from perbench.persona.retrieve import by_score
from perbench.prompts.persona import rendered
from perbench.shapes.base import Strict


class MyRankingSpec(Strict):
    min_letters: Annotated[int, Field(ge=1)] = 4
    """Shorter words are ignored."""


class Keys(Strict):
    my_ranking: MyRankingSpec = MyRankingSpec()


class MyRanking(Ranking[Keys]):
    """Items that share more long words with the request come first."""

    Keys = Keys
    reads = COMPARES

    def rank(self, text: str, examples: Sequence[Example], models: Models) -> Rankings:
        return [
            by_score([len(self._words(item) & self._words(one.question)) for item in rendered(text, one)])
            for one in examples
        ]

    def _words(self, text: str) -> set[str]:
        least = self.keys.my_ranking.min_letters
        return {word.casefold() for word in re.findall(r"\w+", text) if len(word) >= least}
