"""A logits processor that samples tokens from the combined logits of two contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perbench.contracts.engine import Combine
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch import Tensor


class Steering:
    """For greedy `generate` over 2E rows: E prompts with the context, then the same E without. At each step
    it combines a pair's logits, draws a token and forces it in both rows: one batched pass per token, with
    both caches continuing the same answer. A repetition penalty applies to the combined logits, for the
    tokens of the prompt with the context and of the answer."""

    def __init__(self, combine: Combine, sampling: SamplingSpec) -> None:
        from transformers import RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

        self._combine, self._drawn = combine, sampling.temperature > 0
        self._warpers: list[Any] = []
        if sampling.repetition_penalty != 1:
            self._warpers += [RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)]
        if self._drawn:
            self._warpers += [TemperatureLogitsWarper(sampling.temperature)]
            self._warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids [2E, length], scores [2E, V] -> [2E, V]: 0 at the drawn token, -inf elsewhere."""
        import torch

        steered = self._combine(*scores.float().chunk(2))
        for warp in self._warpers:
            steered = warp(input_ids[: len(steered)], steered)
        if self._drawn:
            drawn = torch.multinomial(steered.softmax(-1), num_samples=1)
        else:
            drawn = steered.argmax(-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn.repeat(2, 1), 0.0)
