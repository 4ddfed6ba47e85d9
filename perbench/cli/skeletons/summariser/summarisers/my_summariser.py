"""my_summariser: describe in this line how it rewrites a history, for `perbench ls`; then its source."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.base import Asked
from perbench.contracts.data import Example
from perbench.contracts.persona import Models, Rewritten, Summariser
from perbench.shapes.base import Strict
from perbench.shapes.templates import Count


class MySummariserSpec(Strict):
    words: Count = 8
    """Words kept of each item."""
    items: Count = 20


class Keys(Strict):
    my_summariser: MySummariserSpec = MySummariserSpec()


class MySummariser(Summariser[Keys]):
    """The first words of the first items, without a model. A summariser with a model names it in a key
    (`model: ModelName`), returns it from `roles()`, and gets it as `models.summariser(name)`."""

    Keys = Keys

    def rewrite(self, histories: Sequence[Sequence[str]], models: Models) -> Rewritten:
        spec = self.keys.my_summariser
        texts = [
            "\n".join(" ".join(item.split()[: spec.words]) for item in history[: spec.items])
            for history in histories
        ]
        return Rewritten(texts, {"summaries": sum(map(bool, texts))})

    def asks(self, examples: Sequence[Example]) -> dict[str, Asked]:
        return {}

    def longest(self) -> int:
        return 2 * self.keys.my_summariser.words * self.keys.my_summariser.items  # a word is 1 to 2 tokens
