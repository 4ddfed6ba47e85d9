"""Which token comes next: the likeliest, or one drawn at random.

Prompts of one seed are drawn together: at each step one token for every prompt, also for those whose answers
have ended, until all have. What else is computed beside them, and when ended answers leave a batch, therefore
changes no draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perbench.lm.padding import batches
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

Group = tuple[int, list[int]]
"""(seed, indices of the prompts that are drawn together)."""


def packs(lengths: Sequence[int], seeds: Sequence[int] | None, token_budget: int) -> list[list[Group]]:
    """What is computed together, in order: groups whose padded tokens stay within `token_budget`; longer
    prompts are alone. `seeds`: of each prompt; None if nothing is drawn. A group that exceeds the budget is
    split, and its parts, which go on drawing from its seed, are never in one pack."""
    if seeds is None:
        return [[(0, part)] for part in batches(lengths, token_budget)]
    by_seed: dict[int, list[int]] = {}
    for index, seed in enumerate(seeds):
        by_seed.setdefault(seed, []).append(index)
    found: list[list[Group]] = []
    count = longest = 0
    for seed, members in by_seed.items():
        for part in batches([lengths[i] for i in members], token_budget):
            group = [members[i] for i in part]
            count, longest = count + len(group), max(longest, lengths[group[0]])
            if not found or count * longest > token_budget or seed in dict(found[-1]):
                found.append([])
                count, longest = len(group), lengths[group[0]]
            found[-1].append((seed, group))
    return found


class Draws:
    """Draws for the rows of a pack, numbered in the order of its groups.

    Args:
        prompts: token ids of each row, to which a repetition penalty applies.
        generators: by seed; they go on from pack to pack.
    """

    def __init__(
        self,
        sampling: SamplingSpec,
        pack: Sequence[Group],
        prompts: Sequence[Sequence[int]],
        device: Any,
        generators: dict[int, Generator],
    ) -> None:
        import torch
        from transformers import RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

        self._warpers: list[Any] = []
        self._groups: list[tuple[range, Generator]] = []
        self._penalty: Any = None
        if sampling.repetition_penalty != 1:
            self._penalty = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)
            self._held = [list(prompt) for prompt in prompts]
        if sampling.temperature > 0:
            self._warpers = [TemperatureLogitsWarper(sampling.temperature)]
            self._warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
            first = 0
            for seed, members in pack:
                if seed not in generators:
                    generators[seed] = torch.Generator(device).manual_seed(seed)
                self._groups.append((range(first, first + len(members)), generators[seed]))
                first += len(members)

    def __call__(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        """Tokens [n] from logits [n, V] of these rows, which are in ascending order."""
        if self._penalty is None:
            return self._drawn(logits, rows)
        import torch

        width = max(len(self._held[row]) for row in rows)
        # Padded with a token of the row's own, to which the penalty applies anyway.
        held = [self._held[row][:1] * (width - len(self._held[row])) + self._held[row] for row in rows]
        tokens = self._drawn(self._penalty(torch.tensor(held, device=logits.device), logits), rows)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            self._held[row].append(token)
        return tokens

    def _drawn(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        import torch

        if not self._groups:
            return logits.argmax(-1)
        for warp in self._warpers:
            logits = warp(None, logits)
        chances = logits.softmax(-1)
        drawn, done = [], 0
        for members, generator in self._groups:
            live = [row - members.start for row in rows if row in members]
            if not live:
                continue
            part = chances[done : done + len(live)]
            done += len(live)
            if len(live) == len(members):
                drawn.append(torch.multinomial(part, 1, generator=generator)[:, 0])
                continue
            places = torch.tensor(live, device=logits.device)
            whole = part.new_ones(len(members), part.shape[-1]).index_copy_(0, places, part)
            drawn.append(torch.multinomial(whole, 1, generator=generator)[places, 0])
        return torch.cat(drawn)
