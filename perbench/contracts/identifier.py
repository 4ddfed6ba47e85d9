"""A method that scores how personal each token of a response is: one file `identifiers/NAME.py`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from perbench.errors import CellError
from perbench.hyperparameters import Hyperparameters
from perbench.plugins.faults import place_of

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine


@dataclass(frozen=True)
class PersonaText:
    """The input of an identifier: one response, the persona as rendered sentences, the question.

    An identifier that needs a model also gets token ids in the model's chat template: the prompt with the
    persona (`factual`), without it (`counterfactual`), and the response's `tokens`, the same for both,
    without the end of turn. `spans` are the [start, end) characters of `response` of each token; start == end
    for white space. `prompt_with(sentences)` gives the prompt with other rendered sentences as the persona,
    which may be empty.

    `background` holds the rendered personas of all users of the dataset, including this one, without
    duplicates.
    """

    id: str
    persona: tuple[str, ...]
    question: str
    response: str
    factual: tuple[int, ...] = ()
    counterfactual: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    prompt_with: Callable[[Sequence[str]], tuple[int, ...]] | None = field(
        default=None, compare=False, repr=False
    )
    background: tuple[tuple[str, ...], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class TokenScores:
    """One score per token of a response; `spans` are [start, end) character offsets (start == end: an empty
    token, which is never predicted)."""

    spans: tuple[tuple[int, int], ...]
    scores: tuple[float, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Problems and omissions, summed into the record ({"unparsable": 1})."""
    sources: tuple[int | None, ...] = ()
    """Index of the persona sentence behind each token, or None; empty if the method does not attribute
    tokens."""
    threshold: float | None = None
    """The threshold of this response, for a method that sets one by the response's own scores; else the
    identifier's applies."""
    missing: str | None = None
    """Why there are no spans and scores, `Generation.missing` of a model that gave no answer: the example is
    counted and left out of every metric."""


class Identifier(Hyperparameters, ABC):
    """Scores how personal each token of a response is: one file in `identifiers/`, named as the method.

    A token is predicted personal if its score exceeds `threshold`, or `TokenScores.threshold` if given.
    """

    needs_model: ClassVar[bool] = True
    """Whether `score` uses the engine; False for lexical methods, which get None."""

    needs_tokens: ClassVar[bool] = True
    """Whether `score`, with a model, reads token ids; methods that only chat also run on endpoints, which
    expose none."""

    threshold: float

    @abstractmethod
    def score(self, examples: Sequence[PersonaText], engine: Engine | None) -> list[TokenScores]:
        """One TokenScores per example, in order."""


def checked(identifier: Identifier, texts: Sequence[PersonaText], found: Any) -> list[TokenScores]:
    """An identifier's result, after checking the contract.

    Raises:
        CellError: it violates the contract; the message names the identifier's file and line.
    """
    name = type(identifier).__module__.rpartition(".")[2]
    at = f"{place_of(identifier, 'score')}: "
    if not isinstance(found, list) or len(found) != len(texts):
        given = f"{len(found)} results" if isinstance(found, list) else repr(found)[:80]
        raise CellError(
            f"{at}identifier {name}: score() must return a list of {len(texts)} TokenScores for the examples "
            f"{texts[0].id!r} to {texts[-1].id!r}, one each, but returned {given}"
        )
    for text, one in zip(texts, found, strict=True):
        place = f"{at}identifier {name}, example {text.id!r}"
        if not isinstance(one, TokenScores):
            raise CellError(f"{place}: score() must return TokenScores, not {type(one).__name__}")
        if len(one.scores) != len(one.spans):
            raise CellError(
                f"{place}: {len(one.scores)} scores for {len(one.spans)} spans; give one for each"
            )
        if one.sources and len(one.sources) != len(one.spans):
            raise CellError(
                f"{place}: {len(one.sources)} sources for {len(one.spans)} spans; give one for each, or none"
            )
        if one.threshold is not None and not math.isfinite(one.threshold):
            raise CellError(f"{place}: threshold {one.threshold} is not finite")
        for source in one.sources:
            if source is not None and not 0 <= source < len(text.persona):
                raise CellError(f"{place}: source {source} is not one of the {len(text.persona)} sentences")
        for span, score in zip(one.spans, one.scores, strict=True):
            if not 0 <= span[0] <= span[1] <= len(text.response):
                raise CellError(
                    f"{place}: span {list(span)} is outside the response's {len(text.response)} characters"
                )
            if not math.isfinite(score):
                raise CellError(f"{place}: score {score} of span {list(span)} is not finite")
    return found
