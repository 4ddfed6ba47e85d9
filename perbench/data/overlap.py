"""How much of what a test asks for was seen in training: the same row, the same text, a text in a history.

Texts are compared without case, white space, characters that do not show and Unicode's ways of writing one
character. An equal row counts whatever its length. Of texts apart from their rows only long ones count:
people answer "Yes, please." twice.
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
"""Characters from which on a text does not come about twice by chance."""
_UNSEEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
"""Joiners, marks of direction, variation selectors: left in copies, and by tools that mark texts."""


@dataclass(frozen=True)
class Overlap:
    """Ids of `tested` examples: the first three by what of them training saw, each id in one of them; `own`
    those whose answer stands in their own history, so that the prompt holds it."""

    tested: int
    rows: list[str] = field(default_factory=list)
    """(user, question, reference) of a training example."""
    texts: list[str] = field(default_factory=list)
    """The reference is a training example's."""
    histories: list[str] = field(default_factory=list)
    """The reference stands in a training example's history."""
    own: list[str] = field(default_factory=list)

    @property
    def seen(self) -> list[str]:
        return [*self.rows, *self.texts, *self.histories]

    @property
    def counts(self) -> dict[str, int]:
        """Those that are not zero, by the names that records give them."""
        found = {
            "overlap_rows": len(self.rows),
            "overlap_texts": len(self.texts),
            "overlap_histories": len(self.histories),
            "answers_in_own_history": len(self.own),
        }
        return {name: count for name, count in found.items() if count}


def notes(counts: Mapping[str, int], tested: int, source: str | None) -> list[str]:
    """What counts of an `Overlap` mean for a number, in words; `source` is what was trained on, None of a
    split that thresholds are chosen on."""
    kinds = {
        "overlap_rows": "as the same row",
        "overlap_texts": "as the same text",
        "overlap_histories": "in a history",
    }
    found = {told: counts[name] for name, told in kinds.items() if counts.get(name)}
    where = f"training on {source}" if source is not None else "the split that thresholds are chosen on"
    said = []
    if found:
        told = ", ".join(f"{count} {kind}" for kind, count in found.items())
        said.append(f"{where} saw {sum(found.values())} of the {tested} tested answers: {told}")
    if own := counts.get("answers_in_own_history"):
        said.append(
            f"{own} of the {tested} tested answers are in their own history: the prompt may hold them"
        )
    return said


class Seen:
    """What training on examples sees, made once for any number of tests."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    @cached_property
    def _rows(self) -> set[tuple[str, str, str]]:
        return {_row(example) for example in self._examples}

    @cached_property
    def _texts(self) -> set[str]:
        return {text for _, _, text in self._rows if len(text) >= LONG}

    def overlap(self, test: Sequence[Example]) -> Overlap:
        """What of `test` was seen; examples without a reference ask for no text and count nowhere."""
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
        for text in _standing_in(histories, open_ids):
            found.histories.extend(open_ids[text])
        found.histories.sort()
        return found


def same_text(text: str) -> str:
    """Equal for texts that are the same to a reader."""
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return text.casefold().split()


def holds(items: Iterable[Mapping[str, Any]], references: Collection[str]) -> bool:
    """Whether any of the references (by `same_text`, long ones) stands in an item."""
    return any(
        reference in text
        for text in map(same_text, texts_in(items))
        for reference in references
        if len(reference) >= LONG
    )


def _row(example: Example) -> tuple[str, str, str]:
    return example.user, same_text(example.question), same_text(example.reference)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in items, however deep: a template may render a list or an object in a field."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts_in(value.values())
    elif isinstance(value, Iterable):
        for part in value:
            yield from texts_in(part)


def _standing_in(items: Iterable[Mapping[str, Any]], references: Collection[str]) -> set[str]:
    """Those of the references that stand in any item. A reference is looked for only where its rarest inner
    word is: histories are large, and most share no such word with any reference."""
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
