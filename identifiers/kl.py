"""KL: how far the persona moves the whole prediction of a token (PECoRe's first step, arXiv 2310.01188)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class KL(Identifier):
    """Score: KL(P(. | question, y_<i) || P(. | persona, question, y_<i)) in nats, the direction of inseq's
    attribute-context for decoders, at least 0. It does not depend on which token follows.

    The threshold is the response's own, as PECoRe's: the mean of its scores + `threshold` standard deviations
    (with n - 1). Two forward passes and no generation.
    """

    threshold: float = 1.0
    """In standard deviations above the mean of the response's scores; the threshold chosen on dev is in
    nats."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from perbench.lm.contrast import divergence
        from perbench.prompts.attribution import torch_model

        found = divergence(
            torch_model(engine),
            [example.factual for example in examples],
            [example.counterfactual for example in examples],
            [example.tokens for example in examples],
        )
        return [self._selected(example, kl.tolist()) for example, kl in zip(examples, found, strict=True)]

    def _selected(self, example: PersonaText, scores: Sequence[float]) -> TokenScores:
        from statistics import fmean, stdev

        if not scores:
            return TokenScores((), ())
        spread = stdev(scores) if len(scores) > 1 else 0.0
        return TokenScores(example.spans, tuple(scores), threshold=fmean(scores) + self.threshold * spread)
