"""PerContrast: a token is personal when the persona makes it likelier (PerCE, Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class PerContrast(Identifier):
    """Score: PIR(y_i) = log P(y_i | persona, question, y_<i) - log P(y_i | question, y_<i), natural log.

    Two forward passes and no generation. The threshold is the paper's (App. B.2).
    """

    threshold: float = 1.0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        responses = [example.tokens for example in examples]
        factual = engine.score([example.factual for example in examples], responses)
        counterfactual = engine.score([example.counterfactual for example in examples], responses)
        return [
            TokenScores(example.spans, tuple((with_persona - without).tolist()))
            for example, with_persona, without in zip(examples, factual, counterfactual, strict=True)
        ]
