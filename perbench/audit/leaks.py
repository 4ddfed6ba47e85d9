"""Where the answers of a test split, or near copies of them, are found besides the answer itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from perbench.api import Example
from perbench.audit.copies import Copies
from perbench.data.overlap import Seen, texts_in

Text = tuple[str, str, str]
"""(text, user, id of the example that holds it)."""


@dataclass(frozen=True)
class Leak:
    """`count` of the `of` answers that can be compared are found there; `example` is the first of them, and
    `within` the example that holds it."""

    name: str
    what: str
    count: int
    of: int
    example: str = ""
    within: str = ""


def find_leaks(
    test: Sequence[Example],
    answers: Sequence[str],
    train: Sequence[Example],
    learnt: Sequence[str],
) -> list[Leak]:
    """Near copies (`copies`) of the `answers` of `test`, by place; an empty answer has none. `learnt` are the
    answers of `train`. Equal rows count at any length, as in `perbench.data.overlap`."""
    copies = Copies(answers)

    def leak(name: str, what: str, found: Mapping[int, str]) -> Leak:
        first = min(found, default=None)
        ids = ("", "") if first is None else (test[first].id, found[first])
        return Leak(name, what, len(found), copies.searched, *ids)

    own: dict[int, str] = {}
    question: dict[int, str] = {}
    twins: dict[int, str] = {}
    for place, (example, answer) in enumerate(zip(test, answers, strict=True)):
        if any(place in copies.within(text) for text in texts_in(example.persona)):
            own[place] = example.id
        if place in copies.within(example.question):
            question[place] = example.id
        for other in copies.within(answer) - {place}:
            twins.setdefault(other, example.id)
    theirs: dict[int, str] = {}
    for text, user, holder in _items(test):
        for place in copies.within(text):
            if test[place].user != user:
                theirs.setdefault(place, holder)
    found = [
        leak("own_persona", "in the persona of the same example", own),
        leak("other_persona", "in the persona of another tested user", theirs),
        leak("question", "in the question", question),
        leak("test_answers", "in another answer of the test split", twins),
    ]
    if not train:
        return found
    taught = zip(learnt, (one.user for one in train), (one.id for one in train), strict=True)
    places = {example.id: place for place, example in enumerate(test)}
    rows = sorted(Seen(train).overlap(test).rows, key=places.__getitem__)
    return [
        *found,
        leak("train_answers", "in an answer of the training split", _holders(copies, taught)),
        leak("train_personas", "in a persona of the training split", _holders(copies, _items(train))),
        Leak("train_rows", "the same row, in the training split", len(rows), len(test), *rows[:1]),
    ]


def _holders(copies: Copies, texts: Iterable[Text]) -> dict[int, str]:
    """By the place of an answer, the first example that holds a copy."""
    found: dict[int, str] = {}
    for text, _, holder in texts:
        for place in copies.within(text):
            found.setdefault(place, holder)
    return found


def _items(examples: Iterable[Example]) -> Iterator[Text]:
    for example in examples:
        for text in texts_in(example.persona):
            yield text, example.user, example.id


def shared_users(test: Sequence[Example], train: Sequence[Example]) -> list[str]:
    """Users of both splits, sorted."""
    return sorted({example.user for example in test} & {example.user for example in train})
