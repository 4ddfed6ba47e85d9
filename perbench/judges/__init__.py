"""Ask judge models what a rubric requests and parse their replies strictly: no verdict is ever guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from perbench.lm.context import TooLong
from perbench.prompts.chat import chat_text, encode, encode_response
from perbench.seeds import derive_seed

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine
    from perbench.shapes.rubric import Rubric, Verdict
    from perbench.shapes.sampling import SamplingSpec

__all__ = ["UNJUDGED", "Judged", "ask", "parse"]


@dataclass(frozen=True)
class Judged:
    """A judge's verdict on one request. `value` is None if no reply could be parsed, and `why` then names the
    problem with the last one; `raw` holds every reply in order."""

    value: Verdict | None
    raw: tuple[str, ...]
    prompt_tokens: int
    new_tokens: int
    why: str | None = None


UNJUDGED = Judged(None, (), 0, 0)
"""The verdict on what was not judged."""


def parse(rubric: Rubric, reply: str) -> Verdict | None:
    """The verdict in a reply, or None. The reply must be one of the rubric's options, in any case, with
    optional white space around it and an optional period at the end; a word may also end in "!", a digit in
    "/5", the highest one. Anything else ("Score: 4", "Yes, it does", "4 or 5") gives no verdict."""
    options = rubric.options
    words = "|".join(map(re.escape, options))
    tail = rf"(?:/\s*{list(options)[-1]})?\s*\.?" if rubric.rates else "[.!]?"
    match = re.fullmatch(rf"\s*({words})\s*{tail}\s*", reply, re.IGNORECASE)
    chosen = match[1].casefold() if match else None
    return next((value for word, value in options.items() if word.casefold() == chosen), None)


def ask(
    engine: Engine,
    rubric: Rubric,
    rows: Sequence[Mapping[str, str]],
    sampling: SamplingSpec,
    *,
    method: Literal["reply", "likeliest"] = "reply",
    retries: int = 0,
    seed: int | None = None,
    room: int | None = None,
) -> list[dict[str, Judged]]:
    """Each row's verdicts, by request.

    Args:
        rows: values of the placeholders in the instructions.
        method: as in `RubricJudge`. With likeliest, no verdict is missing, and `raw` holds the natural-log
            probabilities of the options.
        retries: how often to repeat a request whose reply could not be parsed, each time with a new seed;
            ignored at temperature 0, where the reply would be the same.
        seed: None sends seed 0 with every request.
        room: maximum tokens of a question, checked if the engine exposes tokens; None for no limit.

    Raises:
        TooLong: a question exceeds `room`.
    """
    found: list[dict[str, Judged]] = [{} for _ in rows]
    for name, instruction in rubric.ask.items():
        texts = [instruction.format_map(row) for row in rows]
        if room is not None and "tokens" in engine.offers:
            longest = max((len(_prompt(engine, text)) for text in texts), default=0)
            if longest > room:
                raise TooLong(f"a judge's question takes {longest} of {room} tokens; raise max_length")
        if method == "likeliest":
            verdicts = _likeliest(engine, rubric, texts)
        else:
            verdicts = _replies(engine, rubric, texts, sampling, retries, seed)
        for row, verdict in zip(found, verdicts, strict=True):
            row[name] = verdict
    return found


def _prompt(engine: Engine, text: str) -> list[int]:
    return encode(engine.tokenizer, chat_text(engine.tokenizer, None, [text]))


def _likeliest(engine: Engine, rubric: Rubric, texts: Sequence[str]) -> list[Judged]:
    """Ties go to the label listed first, the lower digit, or No."""
    prompts = [_prompt(engine, text) for text in texts]
    words = [encode_response(engine.tokenizer, word) for word in rubric.options]
    scores = engine.score([prompt for prompt in prompts for _ in words], words * len(prompts))
    values, earlier = list(rubric.options.values()), 1 if rubric.answer == "yes_no" else -1
    found = []
    for index, prompt in enumerate(prompts):
        logp = [float(score.sum()) for score in scores[len(words) * index : len(words) * (index + 1)]]
        best = max(range(len(words)), key=lambda i: (logp[i], earlier * i))
        found.append(Judged(values[best], (" ".join(f"{value:.3f}" for value in logp),), len(prompt), 0))
    return found


def _replies(
    engine: Engine,
    rubric: Rubric,
    texts: Sequence[str],
    sampling: SamplingSpec,
    retries: int,
    seed: int | None,
) -> list[Judged]:
    found = [UNJUDGED] * len(texts)
    for attempt in range(1 + (retries if sampling.temperature > 0 else 0)):
        open_ = [index for index, one in enumerate(found) if one.value is None]
        if not open_:
            break
        questions = [[{"role": "user", "content": texts[index]}] for index in open_]
        drawn = 0 if seed is None else derive_seed(seed, "attempt", attempt)
        for index, reply in zip(open_, engine.chat(questions, sampling, seed=drawn), strict=True):
            before = found[index]
            value = parse(rubric, reply.text) if reply.missing is None else None
            found[index] = Judged(
                value,
                (*before.raw, reply.text),
                before.prompt_tokens + reply.prompt_tokens,
                before.new_tokens + reply.new_tokens,
                f"judge_{reply.missing or 'unreadable'}" if value is None else None,
            )
    return found
