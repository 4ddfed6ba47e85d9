"""The draw of other users, whose personas take the place of an example's own."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from perbench.api import Example
from perbench.seeds import derive_seeds


def others(example: Example, examples: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` examples of other users, one each, whose persona differs from the example's, chosen by a
    hash of the example's id and the user: the same for every model, seed and protocol, so that scores can be
    paired."""
    persona_of: dict[str, Example] = {}
    for other in examples:
        if other.user != example.user and other.persona and other.persona != example.persona:
            persona_of.setdefault(other.user, other)
    # The seed's name is that of the first protocol that drew.
    seeds = derive_seeds(("persona_swap", example.id), persona_of)
    drawn = nsmallest(count, zip(seeds, persona_of, strict=True))
    return [persona_of[user] for _, user in drawn]


def alone(examples: Sequence[Example]) -> bool:
    """Whether no two users have different personas, so that nobody has another."""
    users = {example.user for example in examples if example.persona}
    personas = [example.persona for example in examples if example.persona]
    return len(users) < 2 or all(persona == personas[0] for persona in personas)
