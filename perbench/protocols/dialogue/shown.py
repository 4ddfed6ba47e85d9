"""A dialogue for reading: its persona, and its turns with their ratings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perbench.contracts import missing
from perbench.contracts.resume import Sample
from perbench.contracts.shown import Shown, exchanges
from perbench.progress import counted

if TYPE_CHECKING:
    from perbench.api import Example

SCORES = {"rating": "rating", "rating_second": "second judge", "pmi": "pmi"}
"""Scores in a stored turn, and their names for reading."""


def shown(name: str, samples: Sequence[Sample], example: Example | None) -> Shown:
    found = exchanges(name, samples)
    persona = None
    if example is not None:
        persona = tuple(str(example.extra[key]) for key in ("profile", "personality") if key in example.extra)
    turns = [
        replace(
            turn,
            scores={name: sample[key] for key, name in SCORES.items() if key in sample},
            notes=(*turn.notes, *_notes(sample)),
        )
        for turn, sample in zip(found.turns, samples, strict=True)
    ]
    return replace(found, persona=persona, turns=tuple(turns))


def _notes(sample: Sample) -> Iterator[str]:
    if dropped := sample.get("turns_dropped", 0):
        yield f"{counted(dropped, 'earlier turn')} left out of the prompt"
    if missing.reason(sample) is None:
        for who, key in (("judge", "rating_missing"), ("second judge", "rating_second_missing")):
            if key in sample:
                yield f"the {who} gave no rating ({sample[key].replace('_', ' ')})"
