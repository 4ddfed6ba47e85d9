"""Rank the items of a user's history: for a request, by time, or at random. The reference is never seen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from perbench.errors import PerbenchError, suggest
from perbench.specs.persona import PersonaSpec


def absent(spec: PersonaSpec) -> list[str]:
    """The package that the ranking needs and that is not installed, with the command that installs it."""
    if spec.ranking.needs is None:
        return []
    module, extra = spec.ranking.needs
    told = f"persona.retrieve {spec.retrieve} needs the package {module}: pip install 'perbench[{extra}]'"
    return [told] if find_spec(module) is None else []


def query_of(question: str, spec: PersonaSpec) -> str:
    """The request, or what follows the first `query_after` in it."""
    if spec.query_after is None:
        return question
    _, marker, rest = question.partition(spec.query_after)
    return rest.strip() if marker else question


def latest(items: Sequence[Mapping[str, Any]], time: str | None) -> list[int]:
    """Newest first, by the field `time`; of equal times, and without a field, what stands later is newer.

    Raises:
        PerbenchError: an item lacks the field, or holds no number in it.
    """
    places = range(len(items))
    if time is None:
        return list(reversed(places))
    return sorted(places, key=lambda place: (_number(items[place], place, time), place), reverse=True)


def _number(item: Mapping[str, Any], place: int, field: str) -> float:
    if field not in item:
        raise PerbenchError(f"persona item {place} has no field {field!r}.{suggest(field, map(str, item))}")
    try:
        return float(item[field])
    except (TypeError, ValueError):
        raise PerbenchError(
            f"persona item {place}: {field} is {item[field]!r}, no number; name another field: persona.time"
        ) from None


def shuffled(count: int, example: str, seed: int) -> list[int]:
    """An order drawn for an example by its id: the same in every run."""
    return sorted(range(count), key=lambda n: hashlib.sha256(f"{seed}/{example}/{n}".encode()).digest())


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """BM25Okapi of rank_bm25 over whitespace tokens, as LongLaMP retrieves; see `absent`."""
    from rank_bm25 import BM25Okapi

    words = [text.split() for text in texts]
    if not any(words):
        return [0.0] * len(texts)
    scores: list[float] = BM25Okapi(words).get_scores(query.split()).tolist()
    return scores


def by_score(scores: Sequence[float]) -> list[int]:
    """Highest first; of equal scores, what stands earlier."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])
