"""Replying as a known person: dialogues of anonymous volunteers, with their earlier messages as history.

A person's dialogues are split by time: the first half gives the history, the second the replies to write.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from typing import Any

from perbench.data.packages import check, package_folder, remembered, spread
from perbench.errors import PerbenchError

REQUIREMENT = "chitchat-dataset==0.9.0"
SHA256 = "d2a5d0bf6acf354fef51f3af39cbece2220d3b8f6086b658c3d335105798312a"
DIALOGUES = 8
"""Fewest dialogues of a person who trains or tests."""
FEWER_DIALOGUES = 3
"""Fewest dialogues of a person of the split val: those between it and DIALOGUES."""
WORDS = (5, 60)
"""Shortest and longest reply or item of a history."""
CONTEXT_TURNS, CONTEXT_WORDS = 3, 120
REPLIES = 12
"""About the most replies of one person: a few volunteers wrote in hundreds of dialogues."""
HISTORY = 16
TEST_SHARE = 4
"""One person of DIALOGUES in this many is in the test split, by a hash of the person's id."""


@dataclass(frozen=True)
class Turn:
    sender: str
    text: str
    words: int


@dataclass(frozen=True)
class Dialogue:
    """Turns in the package's form: lists of one sender's messages in a row."""

    messages: list[list[dict[str, str]]]

    @cached_property
    def senders(self) -> list[str]:
        return sorted({turn[0]["sender"] for turn in self.messages})

    @cached_property
    def turns(self) -> list[Turn]:
        turns = []
        for messages in self.messages:
            words = " ".join(message["text"] for message in messages).split()
            turns.append(Turn(messages[0]["sender"], " ".join(words), len(words)))
        return turns


@dataclass(frozen=True)
class Person:
    name: str
    split: str
    history: list[Turn]
    later: list[Dialogue]


@remembered("chitchat_dataset")
def rows(split: str) -> Iterator[dict[str, Any]]:
    """Rows {sender, context, reply, messages: [text, ...]} of "train", "val", "test", or "unseen" (val and
    test); the senders of the first three are disjoint.

    `messages` are the sender's latest earlier ones, in order of time. A dialogue in which a test sender takes
    part gives no training rows, one with a sender of either no row of val. A reply that stands in anybody's
    `messages` gives no row at all; those of val count for val alone.

    Raises:
        PerbenchError: another split.
    """
    wanted = {"unseen": {"val", "test"}}.get(split, {split})
    if not wanted <= {"train", "val", "test"}:
        raise PerbenchError(f"there is no split {split!r}; the splits are train, val, test and unseen")
    people = _people()
    others = [turn.text for person in people if person.split != "val" for turn in person.history]
    everyone = [turn.text for person in people for turn in person.history]
    remembered = {of: "\n".join(everyone if of == "val" else others).casefold() for of in wanted}
    names = {of: {person.name for person in people if person.split == of} for of in ("train", "test")}
    apart = {"train": names["test"], "val": names["train"] | names["test"], "test": set[str]()}
    for person in people:
        if person.split not in wanted:
            continue
        for dialogue in person.later:
            if apart[person.split].intersection(dialogue.senders):
                continue
            replies = [*_replies(person.name, dialogue.turns)]
            for before, reply in spread(replies, math.ceil(REPLIES / len(person.later))):
                if reply.text.casefold() in remembered[person.split]:
                    continue
                lines = [f"{'You' if turn.sender == person.name else 'Them'}: {turn.text}" for turn in before]
                yield {
                    "sender": person.name,
                    "context": "\n".join(lines),
                    "reply": reply.text,
                    "messages": [turn.text for turn in person.history],
                }


def _dialogues() -> list[Dialogue]:
    """Dialogues of two, oldest first."""
    path = check(package_folder("chitchat_dataset") / "dataset.json", SHA256, REQUIREMENT)
    dated = []
    for name, content in json.loads(path.read_bytes()).items():
        dialogue = Dialogue([messages for messages in content["messages"] if messages])
        if len(dialogue.senders) == 2:
            dated.append((dialogue.messages[0][0]["timestamp"], name, dialogue))
    return [dialogue for _, _, dialogue in sorted(dated, key=lambda entry: entry[:2])]


@cache  # all splits are drawn from it, and reading it takes most of the time
def _people() -> list[Person]:
    by_person: dict[str, list[Dialogue]] = defaultdict(list)
    for dialogue in _dialogues():
        for name in dialogue.senders:
            by_person[name].append(dialogue)
    people = []
    for name in sorted(by_person):
        own = by_person[name]
        if len(own) < FEWER_DIALOGUES:
            continue
        half = len(own) // 2
        latest = (
            turn
            for dialogue in reversed(own[:half])
            for turn in reversed(dialogue.turns)
            if turn.sender == name and _fits(turn)
        )
        history = [*islice(latest, HISTORY)][::-1]
        if not history:
            continue
        tests = hashlib.sha256(name.encode()).digest()[0] % TEST_SHARE == 0
        split = "val" if len(own) < DIALOGUES else "test" if tests else "train"
        people.append(Person(name, split, history, spread(own[half:], REPLIES)))
    return people


def _replies(name: str, turns: Sequence[Turn]) -> Iterator[tuple[list[Turn], Turn]]:
    """(the turns before, the reply) for every reply of fitting length to somebody else's turn."""
    for index, reply in enumerate(turns):
        before = list(turns[max(0, index - CONTEXT_TURNS) : index])
        if reply.sender != name or not _fits(reply) or not before or before[-1].sender == name:
            continue
        if sum(turn.words for turn in before) <= CONTEXT_WORDS:
            yield before, reply


def _fits(turn: Turn) -> bool:
    return WORDS[0] <= turn.words <= WORDS[1]
