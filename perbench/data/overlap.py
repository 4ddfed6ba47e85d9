"""Overlap of test and training examples: the same row, the same text, a text in a history.

Texts are compared without case, white space, invisible characters and Unicode variants. Equal rows count at
any length; equal texts count only if long, since short answers such as "Yes, please." recur by chance.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perbench.api import Example

LONG = 40
"""Minimum length of a text that does not recur by chance."""
_UNSEEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
"""Joiners, direction marks and variation selectors, which copies and watermarks leave behind."""


@dataclass(frozen=True)
class Overlap:
    """Ids of `tested` examples. The first three lists: examples seen in training, each in the first that
    applies; `own`: those whose answer is in their own history, so that the prompt may hold it."""

    tested: int
    rows: list[str] = field(default_factory=list)
    """The same (user, question, reference) as a training example."""
    texts: list[str] = field(default_factory=list)
    """The same reference as a training example."""
    histories: list[str] = field(default_factory=list)
    """The reference is in a training example's history."""
    own: list[str] = field(default_factory=list)

    @property
    def seen(self) -> list[str]:
        return [*self.rows, *self.texts, *self.histories]

    @property
    def counts(self) -> dict[str, int]:
        """Those that are not zero, by their names in records."""
        found = {
            "overlap_rows": len(self.rows),
            "overlap_texts": len(self.texts),
            "overlap_histories": len(self.histories),
            "answers_in_own_history": len(self.own),
        }
        return {name: count for name, count in found.items() if count}


def notes(counts: Mapping[str, int], tested: int, source: str | None) -> list[str]:
    """Notes about the counts of an `Overlap`; `source` is what was trained on, None for a split on which
    thresholds are chosen."""
    kinds = {
        "overlap_rows": "as the same row",
        "overlap_texts": "as the same text",
        "overlap_histories": "in a history",
    }
    found = {phrases: counts[name] for name, phrases in kinds.items() if counts.get(name)}
    where = f"training on {source}" if source is not None else "the split that thresholds are chosen on"
    found_notes = []
    if found:
        phrases = ", ".join(f"{count} {kind}" for kind, count in found.items())
        found_notes.append(f"{where} saw {sum(found.values())} of the {tested} tested answers: {phrases}")
    if own := counts.get("answers_in_own_history"):
        found_notes.append(
            f"{own} of the {tested} tested answers are in their own history: the prompt may hold them"
        )
    return found_notes


class Seen:
    """The examples seen in training, prepared for any number of tests."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    @cached_property
    def _rows(self) -> set[tuple[str, str, str]]:
        return {_row(example) for example in self._examples}

    @cached_property
    def _texts(self) -> set[str]:
        return {text for _, _, text in self._rows if len(text) >= LONG}

    def overlap(self, test: Sequence[Example]) -> Overlap:
        """The examples of `test` that were seen; those without a reference do not count."""
        found = Overlap(len(test))
        open_ids: dict[str, list[str]] = {}
        for example in test:
            row = _row(example)
            if not row[2]:
                continue
            if row in self._rows:
                found.rows.append(example.id)
            elif row[2] in self._texts:
                found.texts.append(example.id)
            elif len(row[2]) >= LONG:
                open_ids.setdefault(row[2], []).append(example.id)
            if len(row[2]) >= LONG and holds(example.persona, {row[2]}):
                found.own.append(example.id)
        histories = (item for example in self._examples for item in example.persona)
        for text in _occurring_in(histories, open_ids):
            found.histories.extend(open_ids[text])
        found.histories.sort()
        return found


def same_text(text: str) -> str:
    """Equal for texts that look the same to a reader."""
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return text.casefold().split()


def holds(items: Iterable[Mapping[str, Any]], references: Collection[str]) -> bool:
    """Whether an item holds any of the references (long ones, by `same_text`)."""
    return any(
        reference in text
        for text in map(same_text, texts_in(items))
        for reference in references
        if len(reference) >= LONG
    )


def _row(example: Example) -> tuple[str, str, str]:
    return example.user, same_text(example.question), same_text(example.reference)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in items, at any depth, since a template may render a list or an object."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts_in(value.values())
    elif isinstance(value, Iterable):
        for part in value:
            yield from texts_in(part)


def _occurring_in(items: Iterable[Mapping[str, Any]], references: Collection[str]) -> set[str]:
    """The references that occur in any item. A reference is searched only if its rarest inner word occurs:
    histories are large, and most share no such word with a reference."""
    usual = Counter(word for reference in references for word in reference.split())
    by_word: dict[str, list[str]] = {}
    loose = []
    for reference in references:
        inner = reference.split()[1:-1]
        if inner:
            rarest = min(inner, key=lambda word: (usual[word], -len(word)))
            by_word.setdefault(rarest, []).append(reference)
        else:  # a script without spaces
            loose.append(reference)
    found: set[str] = set()
    for text in set(texts_in(items)) if references else ():
        if len(text) < LONG:
            continue
        words = _words(text)
        if not loose and by_word.keys().isdisjoint(words):
            continue
        whole = " ".join(words)
        here = [*loose, *(one for word in by_word.keys() & words for one in by_word[word])]
        found.update(one for one in here if one in whole)
    return found
