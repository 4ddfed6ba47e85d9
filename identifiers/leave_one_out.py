"""Leave one sentence out: which one makes a token likelier (erasure, Li et al., arXiv 1612.08220)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class LeaveOneOut(Identifier):
    """Score: the largest log P(y_i | persona, question, y_<i) - log P(y_i | persona without s, question,
    y_<i) over the sentences s of the persona, natural log.

    The sentence that gives it is the token's source; a token that no sentence makes likelier has none. Two
    sentences that say the same hide each other. One forward pass per sentence, and one.
    """

    threshold: float = 1.0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import numpy as np

        prompts, responses = [], []
        for example in examples:
            assert example.prompt_with is not None, "given to every identifier that needs a model"
            persona = example.persona
            shortened = [persona[:left] + persona[left + 1 :] for left in range(len(persona))]
            prompts += [example.factual, *map(example.prompt_with, shortened)]
            responses += [example.tokens] * (1 + len(persona))
        logp = iter(engine.score(prompts, responses))
        found = []
        for example in examples:
            full = next(logp)
            drops = [full - next(logp) for _ in example.persona]
            drop = np.stack(drops) if drops else np.zeros((1, len(example.tokens)))
            best, source = drop.max(axis=0).tolist(), drop.argmax(axis=0).tolist()
            sources = tuple(place if value > 0 else None for value, place in zip(best, source, strict=True))
            found.append(TokenScores(example.spans, tuple(best), sources=sources))
        return found
