"""Other users, whose personas are compared with a user's own."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.api import Example
from perbench.seeds import derive_seed


def others(example: Example, examples: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` examples of other users, one each, whose persona differs from the example's, chosen by a
    hash of the example's id and the user: the same for every model and seed, so that scores can be paired."""
    persona_of: dict[str, Example] = {}
    for other in examples:
        if other.user != example.user and other.persona and other.persona != example.persona:
            persona_of.setdefault(other.user, other)
    users = sorted(persona_of, key=lambda user: derive_seed("persona_swap", example.id, user))
    return [persona_of[user] for user in users[:count]]
