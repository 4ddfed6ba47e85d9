"""The format of gold spans in identification data, and its checks.

An entry of `gold` is {start, end, text, kind, sentence}: [start, end) characters of the answer, and the index
of the persona sentence that supports it; text, kind and sentence may be absent. Alternatively, it is a
string, which means all of its whole-word occurrences, ignoring case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from perbench.errors import suggest
from perbench.text.marks import KINDS
from perbench.text.words import Span, occurrences

REVIEWS = ("accepted", "edited", "agreed", "adjudicated")
"""What `review` says of a row whose gold a person has checked (`perbench data review`): as it was proposed,
or changed; as two reviewers marked it alike, or a third person decided."""


def places(entry: Any, answer: str) -> list[Span]:
    """The spans of an entry in the answer; empty if it has none."""
    if isinstance(entry, str):
        return occurrences(answer, entry)
    if not isinstance(entry, Mapping):
        return []
    start, end = entry.get("start"), entry.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(answer):
        return []
    return [(start, end)]


def checked(row: Mapping[str, Any]) -> bool:
    """Whether a person has checked the row's gold."""
    return row.get("review") in REVIEWS


def gold_faults(
    layer: str, entries: Any, answer: str, sentences: int, *, annotated: bool = False
) -> Iterator[str]:
    """Faults of the entries of `gold` or of another field of that form; the persona has `sentences`. In
    `annotated` data every entry has its position, text, kind and sentence."""
    if not isinstance(entries, list):
        yield f"{layer} must be a list, not {entries!r}"
        return
    found: list[tuple[int, int, str]] = []
    for number, entry in enumerate(entries):
        where = f"{layer}[{number}]"
        if isinstance(entry, str) and not annotated:
            if not places(entry, answer):
                yield f"{where}: {entry!r} does not occur in {answer!r} as whole words"
            continue
        if not isinstance(entry, Mapping):
            form = "{start, end, text, kind, sentence}" + ("" if annotated else " or a text")
            yield f"{where} must be {form}, not {entry!r}"
            continue
        place = places(entry, answer)
        if not place:
            given = f"start {entry.get('start')!r} and end {entry.get('end')!r}"
            yield f"{where}: {given} are not a span of {len(answer)} characters"
            continue
        start, end = place[0]
        text = answer[start:end]
        if entry.get("text", None if annotated else text) != text:
            yield f"{where}: text is {entry.get('text')!r}, but {start} to {end} is {text!r}"
        if text != text.strip():
            yield f"{where}: {text!r} begins or ends with white space"
        yield from _support(where, entry, sentences, annotated)
        found.append((start, end, where))
    found.sort()
    for (_, end, before), (start, _, after) in pairwise(found):
        if start < end:
            yield f"{after} overlaps {before}"


def _support(where: str, entry: Mapping[str, Any], sentences: int, annotated: bool) -> Iterator[str]:
    kind, sentence = entry.get("kind"), entry.get("sentence")
    if kind not in KINDS and (annotated or kind is not None):
        yield f"{where}: unknown kind {kind!r}.{suggest(str(kind), KINDS)}"
    fits = type(sentence) is int and 0 <= sentence < sentences
    if not fits and (annotated or sentence is not None):
        yield f"{where}: sentence {sentence!r} is not one of the persona's {sentences}, counted from 0"
