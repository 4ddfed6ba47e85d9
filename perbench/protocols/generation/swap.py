"""Log-probs of texts under the user's own persona and under other users' (`swap_scores`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perbench.persona.others import others
from perbench.prompts.chat import encode_response
from perbench.prompts.pair import build_pair

from .samples import Swapped

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.engine import Engine
    from perbench.shapes.task import TaskSpec


def swap_logp(
    spec: TaskSpec,
    count: int,
    batch: Sequence[tuple[Example, str]],
    examples: Sequence[Example],
    scorer: Engine,
) -> list[Swapped]:
    """One `Swapped` per (example, response): natural log, summed over the text's first `max_new_tokens`
    tokens, without the end of turn. The lists are empty for a text without tokens or without other users.

    The prompts are those used for generation, with another user's items as the persona and the example's own
    request. A prompt without any fitting item would compare a persona with none: that user is left out; if it
    is the example's own persona that does not fit, all are.
    """
    tokenizer = scorer.tokenizer
    prompts: list[tuple[int, ...]] = []
    texts: list[list[int]] = []
    plans: list[tuple[list[str], int, Mapping[str, int]]] = []
    for example, response in batch:
        chosen = others(example, examples, count)
        own, *theirs = (
            build_pair(spec, replace(example, persona=persona), tokenizer, with_response=False)
            for persona in (example.persona, *(other.persona for other in chosen))
        )
        fitting = [pair for pair in theirs if pair.kept and own.kept]
        users = [other.user for other, pair in zip(chosen, theirs, strict=True) if pair.kept and own.kept]
        contexts = [pair.factual for pair in (own, *fitting)]
        starts = {}
        both = {
            "response": encode_response(tokenizer, response, generated=True),
            "reference": encode_response(tokenizer, example.reference),
        }
        for name, whole in both.items():
            ids = whole[: spec.sampling.max_new_tokens]
            if ids and users:
                starts[name] = len(prompts)
                prompts += contexts
                texts += [ids] * len(contexts)
        plans.append((users, len(chosen) - len(users), starts))
    logp = [float(values.sum(dtype="float64")) for values in scorer.score(prompts, texts)]
    return [
        Swapped(
            others=users,
            left_out=left_out,
            tokens=sum(
                len(prompts[place]) + len(texts[place])
                for start in starts.values()
                for place in range(start, start + 1 + len(users))
            ),
            response=_of(logp, starts.get("response"), users),
            reference=_of(logp, starts.get("reference"), users),
        )
        for users, left_out, starts in plans
    ]


def _of(logp: list[float], start: int | None, users: Sequence[str]) -> list[float]:
    return [] if start is None else logp[start : start + 1 + len(users)]
