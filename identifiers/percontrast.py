"""PerContrast: a token is personal when the persona makes it likelier (PerCE, Eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    swaps: Annotated[int, Field(gt=0)] = 4
    seed: int = 0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import numpy as np

        responses = [example.tokens for example in examples]
        factual = engine.score([example.factual for example in examples], responses)
        others = [self._others(example) for example in examples]
        repeated = [tokens for tokens, prompts in zip(responses, others, strict=True) for _ in prompts]
        logp = iter(engine.score([prompt for prompts in others for prompt in prompts], repeated))
        found = []
        for example, with_persona, prompts in zip(examples, factual, others, strict=True):
            pir = with_persona - np.mean([next(logp) for _ in prompts], axis=0)
            found.append(TokenScores(example.spans, tuple(self._by_word(example, pir.tolist()))))
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

    def _by_word(self, example: PersonaText, scores: list[float]) -> list[float]:
        import re

        if self.words == "none":
            return scores
        ends = [match.end() for match in re.finditer(r"\S+", example.response)]
        # A token that shows nothing is in no word.
        word = [sum(end <= s for end in ends) if s < e else -1 - i for i, (s, e) in enumerate(example.spans)]
        together: dict[str, Callable[[list[float]], float]] = {
            "max": max,
            "sum": sum,
            "mean": lambda values: sum(values) / len(values),
        }
        groups = [[s for s, place in zip(scores, word, strict=True) if place == here] for here in word]
        return [together[self.words](group) for group in groups]
