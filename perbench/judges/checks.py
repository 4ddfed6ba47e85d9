"""Yes/no checks by a judge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perbench.judges.rating import unjudged
from perbench.prompts.chat import chat_text, encode, encode_response
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine

WORDS = ("Yes", "No")


def parse_yes_no(reply: str) -> bool | None:
    """Whether the reply is the word yes or the word no, in any case, with a period or white space around it;
    None for anything else: a judge that does not follow its instruction has not judged."""
    match = re.fullmatch(r"\s*(yes|no)\s*[.!]?\s*", reply, re.IGNORECASE)
    return match[1].lower() == "yes" if match else None


@dataclass(frozen=True)
class Check:
    """`value` is None when the reply `raw` did not parse, or there was none; `why` says which."""

    value: bool | None
    raw: str
    prompt_tokens: int
    new_tokens: int
    why: str | None = None


def check_likeliest(engine: Engine, instructions: Sequence[str]) -> list[Check]:
    """Whether "Yes" is likelier than "No" as the answer's beginning; a tie is No. Never missing; `raw` holds
    the two natural-log probabilities."""
    tokenizer = engine.tokenizer
    prompts = [encode(tokenizer, chat_text(tokenizer, None, [text])) for text in instructions]
    words = [encode_response(tokenizer, word) for word in WORDS]
    scores = engine.score([prompt for prompt in prompts for _ in words], words * len(prompts))
    logp = [float(score.sum()) for score in scores]
    return [
        Check(yes > no, f"{yes:.3f} {no:.3f}", len(prompt), 0)
        for prompt, yes, no in zip(prompts, logp[::2], logp[1::2], strict=True)
    ]


def check(engine: Engine, instructions: Sequence[str], max_new_tokens: int) -> list[Check]:
    """One greedy answer per instruction, as PrefEval asks."""
    questions = [[{"role": "user", "content": text}] for text in instructions]
    sampling = SamplingSpec(max_new_tokens=max_new_tokens, temperature=0.0)
    found = []
    for reply in engine.chat(questions, sampling, seed=0):
        value = parse_yes_no(reply.text) if reply.missing is None else None
        why = unjudged(reply) if value is None else None
        found.append(Check(value, reply.text, reply.prompt_tokens, reply.new_tokens, why))
    return found
