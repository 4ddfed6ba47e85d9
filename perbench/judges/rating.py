"""Ratings from 1 to 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perbench.prompts.chat import encode_response
from perbench.seeds import derive_seed

if TYPE_CHECKING:
    from perbench.contracts.engine import Conversation, Engine, Generation, TokenIds
    from perbench.shapes.sampling import SamplingSpec


def parse_rating(reply: str) -> int | None:
    """The reply's one integer from 1 to 5; "/5", a final period and white space may stand around it. Anything
    else ("Score: 4", "4 or 5", "4.5") is None: a judge that does not follow its instruction has not judged.
    """
    match = re.fullmatch(r"\s*([1-5])\s*(?:/\s*5)?\s*\.?\s*", reply)
    return int(match[1]) if match else None


def unjudged(reply: Generation) -> str:
    """Why a judge's reply that gives no verdict gives none, as a sample's reason."""
    return f"judge_{reply.missing or 'unreadable'}"


@dataclass(frozen=True)
class Rating:
    """`value` is None when no reply parsed, and `why` says what was wrong with the last; `raw` holds every
    reply in order."""

    value: int | None
    raw: tuple[str, ...]
    prompt_tokens: int
    new_tokens: int
    why: str | None = None


def rate_likeliest(engine: Engine, prompts: Sequence[TokenIds]) -> list[Rating]:
    """One rating per prompt: the digit 1-5 of highest probability as the answer's beginning, the lower one of
    equals. Never missing; `raw` holds the five natural-log probabilities."""
    digits = [encode_response(engine.tokenizer, str(digit)) for digit in range(1, 6)]
    scores = engine.score([prompt for prompt in prompts for _ in digits], digits * len(prompts))
    ratings = []
    for index, prompt in enumerate(prompts):
        logp = [float(score.sum()) for score in scores[5 * index : 5 * index + 5]]
        raw = (" ".join(f"{value:.3f}" for value in logp),)
        ratings.append(Rating(1 + logp.index(max(logp)), raw, len(prompt), 0))
    return ratings


def rate(
    engine: Engine, questions: Sequence[Conversation], sampling: SamplingSpec, *, retries: int, seed: int
) -> list[Rating]:
    """One rating per question. What does not parse is asked again, at most `retries` times, each time with
    another seed; not at temperature 0, where the reply would be the same."""
    values: list[int | None] = [None] * len(questions)
    raw: list[list[str]] = [[] for _ in questions]
    read, written = [0] * len(questions), [0] * len(questions)
    why: list[str | None] = [None] * len(questions)
    for attempt in range(1 + (retries if sampling.temperature > 0 else 0)):
        open_ = [index for index, value in enumerate(values) if value is None]
        if not open_:
            break
        replies = engine.chat(
            [questions[index] for index in open_], sampling, seed=derive_seed(seed, "attempt", attempt)
        )
        for index, reply in zip(open_, replies, strict=True):
            values[index] = parse_rating(reply.text) if reply.missing is None else None
            why[index] = unjudged(reply) if values[index] is None else None
            raw[index].append(reply.text)
            read[index] += reply.prompt_tokens
            written[index] += reply.new_tokens
    return [Rating(*found) for found in zip(values, map(tuple, raw), read, written, why, strict=True)]
