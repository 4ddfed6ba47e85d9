"""Gradient × input: how a token's log-prob hangs on the persona's embeddings (arXiv 1605.01713)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores

TOKEN_BUDGET = 4096
"""Padded tokens whose activations are held at once."""


class GradientInput(Identifier):
    """Score: sum over the persona's tokens j of |e_j . d log P(y_i | persona, question, y_<i) / d e_j|, in
    nats, with e_j the input embedding.

    As Yin & Neubig (arXiv 2202.10419) do for language models, without their contrast. A backward pass gives
    the gradients of one token of every answer of a batch.
    """

    threshold: float = 2.0

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from dataclasses import replace

        import torch

        from perbench.attribution import torch_model
        from perbench.contrast import batches
        from perbench.head import body_and_head, evaluating

        model = torch_model(engine)
        body, head = body_and_head(model)
        # Without gradients of its own the head is not run again in every backward pass.
        fixed = replace(
            head, weight=head.weight.detach(), bias=None if head.bias is None else head.bias.detach()
        )
        found: list[tuple[float, ...]] = [()] * len(examples)
        answered = [place for place, example in enumerate(examples) if example.tokens]
        lengths = [len(examples[place].factual) + len(examples[place].tokens) for place in answered]
        with torch.enable_grad(), evaluating(model):
            for group in batches(lengths, TOKEN_BUDGET):
                members = [answered[index] for index in group]
                scores = self._attributions(body, fixed, [examples[place] for place in members])
                for place, values in zip(members, scores, strict=True):
                    found[place] = values
        return [TokenScores(one.spans, values) for one, values in zip(examples, found, strict=True)]

    def _attributions(self, body: Any, head: Any, texts: Sequence[PersonaText]) -> list[tuple[float, ...]]:
        import torch

        from perbench.attribution import persona_slot

        rows = [(*text.factual, *text.tokens[:-1]) for text in texts]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=body.device)
        inputs = body.get_input_embeddings()(ids).detach().requires_grad_()
        hidden = body(inputs_embeds=inputs, use_cache=False).last_hidden_state
        logps = [
            head.logp(states[len(text.factual) - 1 : len(row)], torch.tensor(text.tokens, device=body.device))
            for states, text, row in zip(hidden, texts, rows, strict=True)
        ]
        slots = [persona_slot(text) for text in texts]
        scores: list[list[float]] = [[] for _ in texts]
        for token in range(max(map(len, logps))):
            at = [row for row, logp in enumerate(logps) if token < len(logp)]
            # Rows do not see one another, so the sum's gradient is each row's own.
            together = torch.stack([logps[row][token] for row in at]).sum()
            (gradient,) = torch.autograd.grad(together, inputs, retain_graph=True)
            product = (gradient.float() * inputs.float()).sum(-1).abs()
            for row in at:
                scores[row].append(product[row, slots[row].start : slots[row].stop].sum().item())
        return [tuple(values) for values in scores]
