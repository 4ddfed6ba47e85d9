"""Says a word of what it was told first."""

from __future__ import annotations

import os
from collections.abc import Sequence

from perbench.contracts.engine import Conversation, Engine, Generation
from perbench.contracts.engine_kind import EngineKind, Host
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec


class ParrotSpec(Strict):
    word: int
    """Its place among the words of the first message."""


class Keys(Strict):
    parrot: ParrotSpec


class Bird(Engine):
    name = "parrot 1"
    offers = frozenset({"chat"})
    alone = True

    def __init__(self, word: int) -> None:
        self._word = word

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int, skip: bool = False
    ) -> list[Generation]:
        words = [messages[0]["content"].split() for messages in conversations]
        return [Generation(one[self._word].strip("."), "stop", len(one), 1) for one in words]


class Parrot(EngineKind[Keys]):
    Keys = Keys
    weights = False
    what = "a parrot"

    def absent(self) -> list[str]:
        return ["the parrot has flown; unset PARROT_FLOWN"] if os.environ.get("PARROT_FLOWN") else []

    def open(self, host: Host) -> Bird:
        return Bird(self.keys.parrot.word)
