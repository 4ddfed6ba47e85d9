"""Gold spans and distractors of identification examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perbench.api import Example
from perbench.data.gold import places
from perbench.text.marks import Gold
from perbench.text.words import Span, occurrences


def gold_spans(example: Example) -> list[Gold]:
    """`example.extra["gold"]` by position, without duplicates; `perbench.data.gold` checks and documents
    it."""
    found: dict[Span, Gold] = {}
    for entry in example.extra["gold"]:
        labels = (entry.get("kind"), entry.get("sentence")) if isinstance(entry, Mapping) else ()
        for place in places(entry, example.reference):
            found.setdefault(place, Gold(*place, *labels))
    return [found[place] for place in sorted(found)]


def distractor_spans(example: Example, gold: Sequence[Gold]) -> list[Span]:
    """Where the example's distractor (`example.extra["distractor"]`, a word or None) occurs outside the gold
    spans."""
    word = example.extra.get("distractor")
    if not isinstance(word, str):
        return []
    return [
        (start, end)
        for start, end in occurrences(example.reference, word)
        if all(end <= span.start or span.end <= start for span in gold)
    ]
