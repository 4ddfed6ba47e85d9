"""Compares two engines on the same weights: do they compute the same but for rounding?

The first engine answers 50 prompts greedily; both give the log-probs of those answers; the second answers,
too. Where the answers first differ, the second engine's own log-probs say how far apart the two tokens are: a
difference by rounding lies within the differences of the log-probs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perbench.contracts.engine import Engine, Generation
from perbench.contracts.engine_kind import EngineKind
from perbench.errors import PerbenchError
from perbench.lm.device import free
from perbench.lm.native import native
from perbench.lm.prefix import common_length
from perbench.matrix.engines import open_model
from perbench.matrix.offers import TOKENS
from perbench.prompts.chat import chat_text, encode, encode_response
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import engine_name, engine_of

if TYPE_CHECKING:
    import numpy as np

TOPICS = (
    "a walk in the rain",
    "an old camera",
    "learning to cook",
    "a train that is late",
    "the first day at work",
    "a garden in winter",
    "music at night",
    "a letter from a friend",
    "a long book",
    "the sea",
)
FORMS = (
    "Tell me about {}.",
    "What do you like about {}, and what would you rather do without? Give two reasons for each.",
    "Write the first sentence of a story about {}.",
    "My friends say I talk too much about {}. What should I answer them?",
    "Name three things that come to mind at {}.",
)
PERSONA = "The user wrote: I keep a diary, and wrote in it about {}. " * 4
GREEDY = SamplingSpec(max_new_tokens=64, temperature=0)
ROUNDING = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Mean difference of log-probs that rounding explains, by the dtype of the weights."""


@dataclass(frozen=True)
class Divergence:
    """Where an answer first differs. `gap`: by how much the second engine's log-probs prefer its own token to
    the first's, in nats; None if one answer ends there."""

    prompt: str
    token: int
    gap: float | None


@dataclass(frozen=True)
class Agreement:
    """`mean` and `largest`: absolute differences of the log-probs of `tokens` tokens; `equal` of `prompts`
    greedy answers are the same."""

    model: str
    dtype: str
    engines: tuple[str, str]
    prompts: int
    tokens: int
    mean: float
    largest: float
    equal: int
    divergences: tuple[Divergence, ...]

    @property
    def first(self) -> Divergence | None:
        """The earliest divergence."""
        return min(self.divergences, key=lambda one: one.token, default=None)

    @property
    def faults(self) -> list[str]:
        """Why results of the two engines may not share a table."""
        limit, found = ROUNDING[self.dtype], []
        if not self.mean <= limit:
            found.append(
                f"log-probs differ by {self.mean:.2g} on average, more than {limit:g} for {self.dtype}"
            )
        apart = 2 * max(self.largest, limit)
        wide = [one.gap for one in self.divergences if one.gap is not None and not abs(one.gap) <= apart]
        if wide:
            most = max(map(abs, wide))
            found.append(
                f"{len(wide)} of {self.prompts} answers differ where the tokens are up to {most:.2g} apart, "
                f"more than rounding explains ({apart:.2g})"
            )
        return found


def check_engine(name: str, cls: type[EngineKind[Any]]) -> None:
    """
    Raises:
        PerbenchError: the engine gives no log-probs, or is not installed.
    """
    if not cls.offers >= TOKENS:
        raise PerbenchError(f"engine {name} gives no log-probs of given texts to compare by")
    if (lacking := cls.lacking()) is not None:
        raise PerbenchError(lacking)


def agreement(
    first: Named[ModelSpec], second: Named[ModelSpec], say: Callable[[str], None] = lambda line: None
) -> Agreement:
    """
    Raises:
        PerbenchError: an engine gives no log-probs, or is not installed.
    """
    for one in (first, second):
        engine = engine_of(one)
        check_engine(engine_name(one.spec), type(engine))
        if missing := engine.absent():
            raise PerbenchError(missing[0])
    topics = [(form.format(topic), PERSONA.replace("{}", topic)) for topic in TOPICS for form in FORMS]
    names, answers, found = [], [], []
    prompts: list[list[int]] = []
    responses: list[list[int]] = []
    texts: list[list[list[int]]] = []
    gaps: list[Divergence] = []
    for place, one in enumerate((first, second)):
        say(f"{one.name} by engine {engine_name(one.spec)}: {len(topics)} prompts")
        served: Engine | None = open_model(one)
        assert served is not None
        names.append(served.name)
        if not place:
            prompts = [
                encode(served.tokenizer, chat_text(served.tokenizer, who, [ask])) for ask, who in topics
            ]
        own = served.generate(prompts, GREEDY, seed=0)
        answers.append(own)
        texts.append([_ids(served, answer) for answer in own])
        if not place:
            responses = texts[0]
        found.append(served.score(prompts, responses))
        if place:
            gaps = _divergences(served, [ask for ask, _ in topics], prompts, answers, texts)
        served = None  # frees the device for the next
        free()
    import numpy as np

    apart: np.ndarray[Any, Any] = np.abs(np.concatenate(found[0]) - np.concatenate(found[1]))
    return Agreement(
        first.name,
        _dtype(first.spec),
        (names[0], names[1]),
        len(prompts),
        len(apart),
        float(apart.mean()) if len(apart) else 0.0,
        float(apart.max(initial=0.0)),
        sum(one == other for one, other in zip(*answers, strict=True)),
        tuple(gaps),
    )


def _ids(engine: Engine, answer: Generation) -> list[int]:
    return encode_response(engine.tokenizer, answer.text, generated=True)


def _divergences(
    engine: Engine,
    asked: Sequence[str],
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[Generation]],
    texts: Sequence[Sequence[Sequence[int]]],
) -> list[Divergence]:
    """Of the answers that differ, by the second engine's log-probs."""
    places, pairs = [], []
    for number, (one, other) in enumerate(zip(*texts, strict=True)):
        if answers[0][number] == answers[1][number]:
            continue
        at = common_length(one, other)
        ends = at >= min(len(one), len(other))
        places.append((number, at, ends))
        if not ends:
            context = [*prompts[number], *one[:at]]
            pairs += [(context, [other[at]]), (context, [one[at]])]
    logp = iter(engine.score([context for context, _ in pairs], [token for _, token in pairs]))
    return [
        Divergence(asked[number], at, None if ends else float(next(logp)[0] - next(logp)[0]))
        for number, at, ends in places
    ]


def _dtype(spec: ModelSpec) -> str:
    return spec.dtype if spec.dtype != "auto" else native()
