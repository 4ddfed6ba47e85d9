"""PerContrast: a token is personal when the persona makes it likelier (PerCE, Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from perbench.api import Identifier, PersonaText, TokenScores
from perbench.errors import PerbenchError


class PerContrast(Identifier):
    """Score: PIR(y_i) = log P(y_i | persona, question, y_<i) - log P(y_i | question, y_<i), natural log.

    Forward passes and no generation. Threshold and counterfactual are the paper's (App. B.2) by default.
    """

    threshold: float = 1.0
    words: Literal["none", "max", "sum", "mean"] = "none"
    """How the tokens of a word (between white space) are put together; each then has its word's score."""
    counterfactual: Literal["remove", "empty", "swap"] = "remove"
    """The prompt without the persona as the task words it; the prompt with nothing in the persona's place; or
    with other users' personas there, the mean log-prob over `swaps` of them, drawn by `seed`."""
    content_words: bool = False
    """Whether tokens outside nouns, verbs, adjectives and adverbs score at most 0."""
    swaps: Annotated[int, Field(gt=0)] = 4
    seed: int = 0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import numpy as np

        from perbench.nltk_data import tagged_words
        from perbench.words import by_word, touching

        responses = [example.tokens for example in examples]
        factual = engine.score([example.factual for example in examples], responses)
        others = [self._others(example) for example in examples]
        repeated = [tokens for tokens, prompts in zip(responses, others, strict=True) for _ in prompts]
        logp = iter(engine.score([prompt for prompts in others for prompt in prompts], repeated))
        found = []
        for example, with_persona, prompts in zip(examples, factual, others, strict=True):
            pir = (with_persona - np.mean([next(logp) for _ in prompts], axis=0)).tolist()
            scores = (
                pir if self.words == "none" else by_word(example.response, example.spans, pir, self.words)
            )
            if self.content_words:
                words = [span for span, content in tagged_words(example.response) if content]
                inside = touching(words, example.spans)
                scores = [s if held else min(s, 0.0) for s, held in zip(scores, inside, strict=True)]
            found.append(TokenScores(example.spans, tuple(scores)))
        return found

    def _others(self, example: PersonaText) -> list[tuple[int, ...]]:
        import random

        if self.counterfactual == "remove":
            return [example.counterfactual]
        assert example.prompt_with is not None, "given to every identifier that needs a model"
        if self.counterfactual == "empty":
            return [example.prompt_with(())]
        strangers = [persona for persona in example.background if persona != example.persona]
        if len(strangers) < self.swaps:
            raise PerbenchError(
                f"percontrast, example {example.id!r}: swaps={self.swaps} needs as many other personas, and "
                f"the data set has {len(strangers)}; lower swaps or take more examples"
            )
        # By persona, so that all answers of one user share their prompts' beginnings.
        draw = random.Random(f"{self.seed}/{example.persona}")
        return [example.prompt_with(persona) for persona in draw.sample(strangers, self.swaps)]
