"""Faults of a row's options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from .section import ChoiceSpec

MOST = 26
"""Options that letters can name."""


def faults(spec: ChoiceSpec, row: Mapping[str, Any], reference: str) -> Iterator[str]:
    options = row.get("options")
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        yield 'options: must be a list of texts, as ["yes, gladly", "no"]'
        return
    yield from _option_faults(options)
    if spec.rated is not None:
        yield from _rating_faults(row.get("ratings"), len(options), spec.rated.scale)
        if reference not in options:
            yield "options: none is the reference; write the preferred option's text there"
        if not _names(row.get("models"), len(options)):
            yield f"models: must be a list of {len(options)} texts, who wrote each option, or null"
    else:
        yield from _gold_faults(row.get("gold"), options, reference)
    yield from _turn_faults(row.get("turns"), spec.turns)


def _option_faults(options: Sequence[str]) -> Iterator[str]:
    if not 2 <= len(options) <= MOST:
        yield f"options: there must be 2 to {MOST}, found {len(options)}; leave the row out, or complete it"
    first: dict[str, int] = {}
    for place, option in enumerate(options):
        text = option.strip()
        if not text:
            yield f"options[{place}] is empty; leave the row out, or complete it"
        elif first.setdefault(text, place) != place:
            yield f"options[{place}] equals options[{first[text]}], so neither is right; leave one out"


def _gold_faults(gold: Any, options: Sequence[str], reference: str) -> Iterator[str]:
    if not isinstance(gold, int) or isinstance(gold, bool):
        yield f"gold is {gold!r}; write the place of the right option, from 0"
    elif not 0 <= gold < len(options):
        yield f"gold is {gold}, but the places of the {len(options)} options are 0 to {len(options) - 1}"
    elif options[gold] != reference:
        yield f"the reference is not options[{gold}], the one that gold names; write the same text"


def _rating_faults(ratings: Any, count: int, scale: Sequence[float]) -> Iterator[str]:
    numbers = isinstance(ratings, list) and all(
        isinstance(one, (int, float)) and not isinstance(one, bool) and isfinite(one) for one in ratings
    )
    if not numbers or len(ratings) != count:
        yield f"ratings: must be a list of {count} numbers, one per option"
        return
    low, high = scale
    for place, rating in enumerate(ratings):
        if not low <= rating <= high:
            yield (
                f"ratings[{place}] is {rating:g}, outside choice.rated.scale, {low:g} to {high:g}; correct "
                "the row, or the scale"
            )


def _names(models: Any, count: int) -> bool:
    if models is None:
        return True
    return isinstance(models, list) and len(models) == count and all(isinstance(one, str) for one in models)


def _turn_faults(turns: Any, count: int) -> Iterator[str]:
    if not count:
        return
    fits = isinstance(turns, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in turns
    )
    if not fits:
        yield "turns: must be a list of [user, assistant] pairs of texts, for choice.turns"
    elif len(turns) < count:
        yield f"turns: has {len(turns)} exchanges, fewer than choice.turns {count}; lower it"
