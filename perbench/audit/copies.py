"""Near copies: a text holds twelve consecutive words of another one, or all of its words if there are fewer.

Words are runs of letters and digits, compared without case, invisible characters and Unicode variants, so
that punctuation and white space do not matter. A text shorter than `data.overlap.LONG` recurs by chance and
has no copies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from perbench.data.overlap import LONG, same_text

RUN = 12
"""Words in a row that two texts do not share by chance."""
GRAM = 6
STRIDE = RUN - GRAM + 1
"""Of seven consecutive starts one is a multiple of seven, so that a run of twelve words holds six words that
start at such a place of the text that is searched."""


def words(text: str) -> list[str]:
    return re.findall(r"\w+", same_text(text))


class Copies:
    """Finds copies of `texts` in other texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [words(text) if len(same_text(text)) >= LONG else [] for text in texts]
        self._grams: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        """Six words -> (text, place of the first of them)."""
        self._short: dict[str, list[tuple[int, int]]] = {}
        """The rarest word of a text of fewer words -> (text, place of the word)."""
        self._found: dict[str, frozenset[int]] = {}
        usual = Counter(word for own in self._words for word in set(own))
        for number, own in enumerate(self._words):
            if len(own) >= RUN:
                for place in range(len(own) - GRAM + 1):
                    self._grams.setdefault(tuple(own[place : place + GRAM]), []).append((number, place))
            elif own:
                place = min(range(len(own)), key=lambda at: (usual[own[at]], -len(own[at]), at))
                self._short.setdefault(own[place], []).append((number, place))

    @property
    def searched(self) -> int:
        """How many of the texts are long enough to have copies."""
        return sum(map(bool, self._words))

    def within(self, text: str) -> frozenset[int]:
        """The places among `texts` of those that `text` holds a copy of."""
        if text not in self._found:
            self._found[text] = frozenset(self._search(words(text)))
        return self._found[text]

    def _search(self, there: Sequence[str]) -> set[int]:
        found: set[int] = set()
        for start in range(0, len(there) - GRAM + 1, STRIDE):
            for number, place in self._grams.get(tuple(there[start : start + GRAM]), ()):
                if number not in found and _shared(self._words[number], place, there, start) >= RUN:
                    found.add(number)
        if self._short:
            for at, word in enumerate(there):
                for number, place in self._short.get(word, ()):
                    own, start = self._words[number], at - place
                    if start >= 0 and there[start : start + len(own)] == own:
                        found.add(number)
        return found


def _shared(one: Sequence[str], i: int, other: Sequence[str], j: int) -> int:
    """Length of the run of equal words around the places `i` and `j`, where the texts agree."""
    left = 0
    while i - left > 0 and j - left > 0 and one[i - left - 1] == other[j - left - 1]:
        left += 1
    right = 0
    while i + right < len(one) and j + right < len(other) and one[i + right] == other[j + right]:
        right += 1
    return left + right
