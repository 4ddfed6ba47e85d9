"""Words of a text and where they stand: what lexical identifiers and the gold standard share."""

from __future__ import annotations

import re

Span = tuple[int, int]
"""[start, end) characters of a text."""


def word_spans(text: str) -> list[Span]:
    """Every maximal run of letters, digits and underscores. "dog's" is two words, so that a gold "dog" holds
    the first of them."""
    return [match.span() for match in re.finditer(r"\w+", text)]


def whole_words(text: str) -> list[Span]:
    """Every white-space separated word without the punctuation at its edges: "part-time," is one word, shown
    without its comma. What holds no letter or digit is no word."""
    return [match.span() for match in re.finditer(r"\w(?:\S*\w)?", text)]


def occurrences(text: str, phrase: str) -> list[Span]:
    """Where `phrase` stands in `text` as whole words, ignoring case and the kind of white space."""
    parts = phrase.split()
    if not parts:
        return []
    body = r"\s+".join(map(re.escape, parts))
    return [match.span() for match in re.finditer(rf"(?<!\w){body}(?!\w)", text, re.IGNORECASE)]


def visible(text: str, start: int, end: int) -> Span:
    """[start, end) without the white space at its edges; (start, start) where nothing else is there."""
    shown = text[start:end]
    left = len(shown) - len(shown.lstrip())
    return (start, start) if left == len(shown) else (start + left, start + len(shown.rstrip()))
