"""Whose persona an example holds: the user's own, none, or another user's (`persona.whose`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.persona.others import others
from perbench.progress import counted

Whose = Literal["own", "none", "other"]


def with_persona_of(whose: Whose, examples: Sequence[Example]) -> list[Example]:
    """The examples of a split, each with that persona. The other user is the first of `others`.

    Raises:
        PerbenchError: no other user of these examples has another persona.
    """
    if whose == "own":
        return list(examples)
    if whose == "none":
        return [replace(example, persona=()) for example in examples]
    found = []
    for example in examples:
        drawn = others(example, examples, 1)
        if not drawn:
            raise PerbenchError(
                f"persona.whose other: no other user of the {counted(len(examples), 'example')} has another "
                f"persona than {example.id}; use rows of several users, a larger --limit, or persona.whose "
                "none"
            )
        found.append(replace(example, persona=drawn[0].persona))
    return found
