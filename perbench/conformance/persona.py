"""Inputs for tests of rankings and summarisers: short histories, fake models, valid keys."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from perbench.contracts.base import Owner
from perbench.contracts.data import Example
from perbench.contracts.engine import Conversation, Generation
from perbench.errors import SpecError
from perbench.shapes.describe import filled
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import persona_spec
from perbench.specs.faults import check
from perbench.specs.yaml import Place

O = TypeVar("O", bound=Owner[Any])  # noqa: E741

HISTORIES = (
    ("I have a dog called Pip.", "I live by the river.", "I sleep at noon.", "I have a dog called Pip."),
    (
        "I paint old doors \u2014 na\u00efve? \U0001f600",
        "\u6211\u559c\u6b22\u8336",
        "two\nlines",
        "word " * 300,
    ),
    ("I read novels only.",),
    (),
)
EXAMPLES = [
    Example(
        f"{place}",
        f"user {place}",
        question,
        f"Answer {place}.",
        tuple({"text": text, "time": number} for number, text in enumerate(HISTORIES[place])),
        {"gold": place},
    )
    for place, question in enumerate(("Where is my dog?", "  Tea? \U0001f600 ", "", "Who am I?"))
]
"""A repeated item, odd texts, one item, none; items have a text and a time."""
TEXT = "{text}"


class CountingModels:
    """Replaces the models that build personas, and counts requests to each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.requests = 0

    def encoder(self, name: str) -> Callable[[Sequence[str]], Any]:
        """Vectors of letter counts."""
        import numpy as np

        self.asked.append(name)
        letters = "aeiourd"
        return lambda texts: np.array(
            [[1.0 + text.count(one) for one in letters] for text in texts], "float32"
        )

    def summariser(self, name: str) -> tuple[str, Callable[[], Any]]:
        self.asked.append(name)
        return "built-in", lambda: self

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int, skip: bool = False
    ) -> list[Generation]:
        """Answers with the last words of the request."""
        self.requests += len(conversations)
        words = [re.findall(r"\w+", conversation[-1]["content"])[-3:] for conversation in conversations]
        return [Generation(" ".join(found), "stop", 10, len(found)) for found in words]


def made(cls: type[O], key: str, given: Mapping[str, Any]) -> O:
    """The owner named by a key of `persona`, with the keys `given` and required ones filled in.

    Raises:
        SpecError: they are not valid.
    """
    own = cls.Keys.model_construct(None, **filled(cls.Keys, optional=False)).model_dump(exclude_unset=True)
    values = {key: cls.__module__.rpartition(".")[2], **_merged(own, given)}
    spec, problems = check(persona_spec(), values, lambda path: Place("--param"))
    if spec is None:
        raise SpecError(problems)
    return cls(spec)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    deep = {
        key: _merged(under[key], value) for key, value in over.items() if isinstance(under.get(key), dict)
    }
    return {**under, **over, **deep}


@contextmanager
def own_cache() -> Iterator[None]:
    """Use a temporary cache during the block."""
    before = os.environ.get("PERBENCH_CACHE")
    with TemporaryDirectory() as folder:
        os.environ["PERBENCH_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["PERBENCH_CACHE"]
            os.environ |= {} if before is None else {"PERBENCH_CACHE": before}


def named(owner: Owner[Any]) -> set[str | None]:
    """The models of its roles."""
    return {role.model for role in owner.roles()}
