"""Writes answers with transformers' own `generate`, for models whose state is more than a key-value cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from perbench.lm.decode import Choose


def generated(
    model: Any,
    prompts: Sequence[Sequence[Sequence[int]]],
    new_tokens: int,
    stop: frozenset[int],
    choose: Choose,
) -> list[list[int]]:
    """As `perbench.lm.decode.decode`."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    sequences = [ids for prompt in prompts for ids in prompt]
    pad = 0  # masked, so any valid id will do; the tokenizer's may lie outside the embedding
    width = max(map(len, sequences))
    # Left padding, so that every answer directly follows its prompt.
    ids = torch.tensor([[pad] * (width - len(one)) + list(one) for one in sequences])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in sequences])
    forced = Forced(len(prompts), stop, choose)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=sorted(stop),
        pad_token_id=pad,
        use_cache=True,
    )
    model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
        logits_processor=LogitsProcessorList([forced]),
    )
    return forced.answers


class Forced:
    """A logits processor for greedy `generate` that forces what `choose` chooses in every context of its
    answer: one batched pass per token, with all caches continuing the same answer."""

    def __init__(self, count: int, stop: frozenset[int], choose: Choose) -> None:
        self.answers: list[list[int]] = [[] for _ in range(count)]
        self._stop = stop
        self._choose = choose

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores [E * C, V] -> [E * C, V]: 0 at the chosen token, -inf elsewhere."""
        import torch

        rows = [row for row, answer in enumerate(self.answers) if not answer or answer[-1] not in self._stop]
        logits = scores.float().view(len(self.answers), -1, scores.shape[-1])
        forced = torch.zeros(len(self.answers), dtype=torch.long, device=scores.device)
        if rows:
            live = torch.tensor(rows, device=scores.device)
            chosen = self._choose(logits[live], rows)
            forced[live] = chosen
            for row, token in zip(rows, chosen.tolist(), strict=True):
                self.answers[row].append(token)
        tokens = forced.repeat_interleave(logits.shape[1])[:, None]
        return torch.full_like(scores, -torch.inf).scatter(1, tokens, 0.0)
