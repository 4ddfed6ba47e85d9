"""ContextCite: a linear model of a token's log-odds over the persona's sentences (arXiv 2409.00729)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from perbench.api import Identifier, PersonaText, TokenScores

KEPT = 0.5
"""Probability with which a mask keeps a sentence."""
CERTAIN = 1e-6
"""1 - p is at least this, so that the logit of a certain token is finite (13.8)."""


class ContextCite(Identifier):
    """Score: the largest weight over the sentences s of the persona in ln(p / (1 - p)) = b + sum_s w_s m_s,
    m_s = 1 if the prompt holds s: how much s raises the token's log-odds. Fitted by LASSO over `masks`
    prompts with random subsets of sentences, those of the published code.

    The sentence with that weight is the token's source; a token with no weight above 0 has none and scores
    the largest weight, at most 0. One forward pass per distinct mask, of which there are at most 2^sentences.
    """

    threshold: float = 1.0
    masks: Annotated[int, Field(gt=1)] = 64
    alpha: Annotated[float, Field(ge=0)] = 0.01
    """LASSO's penalty, on standardised masks and log-odds divided by the number of the target's tokens."""
    target: Literal["token", "word"] = "token"
    """What p is the probability of: a token, or all tokens of its word (between white space) together."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import numpy as np

        read = [example for example in examples if example.persona and example.tokens]
        drawn = {size: self._masks(size) for size in {len(example.persona) for example in read}}
        distinct = {size: np.unique(masks, axis=0, return_inverse=True) for size, masks in drawn.items()}
        asked = [(example, mask) for example in read for mask in distinct[len(example.persona)][0]]
        logp = iter(engine.score([_prompt(*one) for one in asked], [example.tokens for example, _ in asked]))
        found = []
        for example in examples:
            if not example.persona or not example.tokens:
                found.append(TokenScores(example.spans, (0.0,) * len(example.spans)))
                continue
            masks, place = distinct[len(example.persona)]
            given = np.stack([next(logp) for _ in masks]).astype(np.float64)
            found.append(self._attributed(example, masks[place.reshape(-1)], given[place.reshape(-1)]))
        return found

    def _masks(self, sentences: int) -> Any:
        import numpy as np

        rows = [
            np.random.RandomState(seed).choice([False, True], size=sentences, p=[1 - KEPT, KEPT])
            for seed in range(self.masks)
        ]
        return np.stack(rows)

    def _attributed(self, example: PersonaText, masks: Any, logp: Any) -> TokenScores:
        """`masks` [n, sentences], `logp` [n, tokens]."""
        from perbench.text.words import by_word

        target = list(range(len(example.tokens)))
        if self.target == "word":  # a word's number is that of its last token
            target = [int(last) for last in by_word(example.response, example.spans, target, "max")]
        weights = attributions(masks, logp, target, self.alpha)
        best, source = weights.max(axis=0).tolist(), weights.argmax(axis=0).tolist()
        sources = tuple(place if value > 0 else None for value, place in zip(best, source, strict=True))
        return TokenScores(example.spans, tuple(best), sources=sources)


def _prompt(example: PersonaText, mask: Any) -> tuple[int, ...]:
    assert example.prompt_with is not None, "given to every identifier that needs a model"
    if mask.all():
        return example.factual
    return example.prompt_with([one for one, kept in zip(example.persona, mask, strict=True) if kept])


def attributions(masks: Any, logp: Any, target: Sequence[int], alpha: float) -> Any:
    """Weights [sentences, tokens] of each token's target: tokens with the same number in `target` are one.

    Args:
        masks: [n, sentences], whether a prompt held a sentence.
        logp: [n, tokens], the tokens' log-probs given it.
    """
    import numpy as np

    from perbench.stats.lasso import standardised_lasso

    numbers = np.array(target)
    names, place, size = np.unique(numbers, return_inverse=True, return_counts=True)
    together = np.stack([logp[:, numbers == name].sum(axis=1) for name in names], axis=1)
    together = np.minimum(together, np.log1p(-CERTAIN))
    odds = together - np.log(-np.expm1(together))
    weights, _ = standardised_lasso(masks.astype(np.float64), odds / size, alpha)
    return (weights * size)[:, place]
