"""Attention: how much a token's prediction looks at the persona (a baseline in arXiv 2409.00729)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from perbench.api import Identifier, PersonaText, TokenScores


class Attention(Identifier):
    """Score: attention on the persona's tokens from the position that predicts the token, in [0, 1], averaged
    over the heads of `layers`.

    One pass over the prompt and one over the answer, in which alone attention weights are kept.
    """

    threshold: float = 0.1
    layers: Literal["all", "lower", "middle", "upper"] = "all"
    """All layers, or a third of them."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        import torch

        from perbench.attribution import torch_model
        from perbench.head import body_and_head, evaluating

        model = torch_model(engine)
        body, _ = body_and_head(model)
        with torch.no_grad(), evaluating(model):
            return [TokenScores(example.spans, tuple(self._mass(body, example))) for example in examples]

    def _mass(self, body: Any, example: PersonaText) -> list[float]:
        import torch
        from transformers import DynamicCache

        from perbench.attribution import persona_slot, with_attentions

        slot = persona_slot(example)
        if not slot or not example.tokens:
            return [0.0] * len(example.tokens)
        cache = DynamicCache()
        before = torch.tensor([example.factual[:-1]], device=body.device)
        body(input_ids=before, past_key_values=cache, use_cache=True)
        read = torch.tensor([[example.factual[-1], *example.tokens[:-1]]], device=body.device)
        with with_attentions(body):
            weights = body(
                input_ids=read, past_key_values=cache, use_cache=True, output_attentions=True
            ).attentions
        depth, third = len(weights), len(weights) // 3
        first, last = {
            "all": (0, depth),
            "lower": (0, third or 1),
            "middle": (third, depth - third),
            "upper": (depth - (third or 1), depth),
        }[self.layers]
        masses = [
            layer[0, :, :, slot.start : slot.stop].float().sum(-1).mean(0) for layer in weights[first:last]
        ]
        mass: list[float] = torch.stack(masses).mean(0).tolist()
        return mass
