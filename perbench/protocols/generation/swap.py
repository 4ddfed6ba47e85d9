"""Log-probs of texts under the user's own persona and under others' (`swap_scores`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perbench.prompts.chat import encode_response
from perbench.prompts.pair import build_pair
from perbench.seeds import derive_seed

from .samples import Swapped

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.engine import Engine
    from perbench.shapes.task import TaskSpec


def others(example: Example, examples: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` examples of other users, one each, whose persona differs from the example's. A hash of
    the example's id and the user chooses: the same for every model and seed, so that scores pair."""
    persona_of: dict[str, Example] = {}
    for other in examples:
        if other.user != example.user and other.persona and other.persona != example.persona:
            persona_of.setdefault(other.user, other)
    users = sorted(persona_of, key=lambda user: derive_seed("persona_swap", example.id, user))
    return [persona_of[user] for user in users[:count]]


def swap_logp(
    spec: TaskSpec,
    count: int,
    batch: Sequence[tuple[Example, str]],
    examples: Sequence[Example],
    scorer: Engine,
) -> list[Swapped]:
    """For each (example, response): {"others": users tried, "left_out": number of users who would have been,
    "response": [log P under the own persona, under each other's], "reference": likewise, "tokens": read for
    it}; natural log, summed over the text's first `max_new_tokens` tokens, without the end of turn. A text
    without tokens, or without others, has an empty list.

    The prompts are those that answers are generated from, with other items in the persona's place; the
    request stays the example's own. Where no item of a persona fits, such a prompt holds no persona, and a
    comparison with it would be one of any persona against none: that user is left out, and all are where it
    is the own persona that does not occur in its prompt.
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
