"""Finds words and phrases in a text, for lexical identifiers and gold spans."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from typing import Literal

Span = tuple[int, int]
"""[start, end) characters of a text."""


def word_spans(text: str) -> list[Span]:
    """Every maximal run of letters, digits and underscores. "dog's" is two words, so that a gold "dog"
    contains the first."""
    return [match.span() for match in re.finditer(r"\w+", text)]


def whole_words(text: str) -> list[Span]:
    """Every white-space separated word without the punctuation at its edges ("part-time," without its comma).
    A word has at least one letter or digit."""
    return [match.span() for match in re.finditer(r"\w(?:\S*\w)?", text)]


def occurrences(text: str, phrase: str) -> list[Span]:
    """Occurrences of `phrase` in `text` as whole words, ignoring case and the kind of white space."""
    parts = phrase.split()
    if not parts:
        return []
    body = r"\s+".join(map(re.escape, parts))
    return [match.span() for match in re.finditer(rf"(?<!\w){body}(?!\w)", text, re.IGNORECASE)]


def visible(text: str, start: int, end: int) -> Span:
    """[start, end) without white space at its edges; (start, start) if nothing else is left."""
    shown = text[start:end]
    left = len(shown) - len(shown.lstrip())
    return (start, start) if left == len(shown) else (start + left, start + len(shown.rstrip()))


def by_word(
    text: str, spans: Sequence[Span], scores: Sequence[float], how: Literal["max", "sum", "mean"]
) -> list[float]:
    """Every token's score replaced by that of its word: the largest, sum or mean of the scores of the tokens
    that begin in it. Words are separated by white space; a blank token is in no word."""
    together: dict[str, Callable[[list[float]], float]] = {"max": max, "sum": sum, "mean": statistics.fmean}
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    word = [sum(end <= s for end in ends) if s < e else -1 - i for i, (s, e) in enumerate(spans)]
    members: dict[int, list[float]] = {}
    for place, score in zip(word, scores, strict=True):
        members.setdefault(place, []).append(score)
    pooled = {place: together[how](values) for place, values in members.items()}
    return [pooled[place] for place in word]


def touching(words: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """Whether each of `spans` shares a character with any of `words`."""
    return [any(touch(word, span) for word in words) for span in spans]


def touch(a: Span, b: Span) -> bool:
    """Whether two spans share a character."""
    return a[0] < b[1] and b[0] < a[1]
