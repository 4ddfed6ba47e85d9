"""Gradient × input: how a token's log-prob hangs on the persona's embeddings (arXiv 1605.01713)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores


class GradientInput(Identifier):
    """Score: sum over the persona's tokens j of |e_j . d log P(y_i | persona, question, y_<i) / d e_j|, in
    nats, with e_j the input embedding.

    As Yin & Neubig (arXiv 2202.10419) do for language models, without their contrast. One backward pass per
    token.
    """

    threshold: float = 2.0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from dataclasses import replace

        import torch

        from perbench.attribution import torch_model
        from perbench.head import body_and_head, evaluating

        model = torch_model(engine)
        body, head = body_and_head(model)
        # Without gradients of its own the head is not run again in every backward pass.
        fixed = replace(
            head, weight=head.weight.detach(), bias=None if head.bias is None else head.bias.detach()
        )
        with torch.enable_grad(), evaluating(model):
            return [
                TokenScores(example.spans, tuple(self._attributions(body, fixed, example)))
                for example in examples
            ]

    def _attributions(self, body: Any, head: Any, example: PersonaText) -> list[float]:
        import torch

        from perbench.attribution import persona_slot

        slot = persona_slot(example)
        if not slot or not example.tokens:
            return [0.0] * len(example.tokens)
        ids = torch.tensor([[*example.factual, *example.tokens[:-1]]], device=body.device)
        inputs = body.get_input_embeddings()(ids).detach().requires_grad_()
        hidden = body(inputs_embeds=inputs, use_cache=False).last_hidden_state[0, len(example.factual) - 1 :]
        scores = []
        for logp in head.logp(hidden, torch.tensor(example.tokens, device=body.device)):
            (gradient,) = torch.autograd.grad(logp, inputs, retain_graph=True)
            product = (gradient.float() * inputs.float()).sum(-1)[0, slot.start : slot.stop]
            scores.append(product.abs().sum().item())
        return scores
