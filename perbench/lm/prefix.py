"""Shares the computation of common prompt prefixes: a prefix fills a key-value cache that all its prompts
continue.

Answers of one user share the persona at the start of their prompts, so most of the computation would repeat.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


LEAST = 16
"""Minimum tokens of a shared prefix. Measured: shorter ones save less than the additional pass costs."""
TOGETHER = 512
"""Maximum padded tokens of prefixes read in one pass. Measured: longer ones gain nothing from batching and
lose the fast path of unmasked attention."""
MOST = 64
"""Maximum prompts per prefix; bounds the search for the best partition."""


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """Number of leading elements (tokens, characters) that both share."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def shared_prefixes(prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, list[int]]]:
    """(length of the prefix, indices of its prompts), every index once: the partition of the sorted prompts
    into runs that saves most tokens. A prompt without a shared prefix is a group of length 0. A prompt's last
    token is never in the prefix, because it predicts the response."""
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    common = [
        min(common_length(prompts[a], prompts[b]), len(prompts[a]) - 1, len(prompts[b]) - 1)
        for a, b in pairwise(order)
    ]
    # best[n]: (tokens saved among the first n, start of the last group, its prefix)
    best = [(0, 0, 0)]
    for stop in range(1, len(order) + 1):
        best.append((best[-1][0], stop - 1, 0))
        prefix = None
        for first in range(stop - 2, max(-1, stop - 1 - MOST), -1):
            prefix = common[first] if prefix is None else min(prefix, common[first])
            if prefix < LEAST:
                break
            best[stop] = max(best[stop], (best[first][0] + prefix * (stop - first - 1), first, prefix))
    groups = []
    stop = len(order)
    while stop:
        _, first, prefix = best[stop]
        groups.append((prefix, order[first:stop]))
        stop = first
    return groups


def can_continue(body: Any) -> bool:
    """Whether the model's state is only a key-value cache of full or sliding attention."""
    config = body.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    return (
        {"past_key_values", "position_ids"} <= set(inspect.signature(body.forward).parameters)
        and kinds <= {"full_attention", "sliding_attention"}
        and not body._is_stateful
        and getattr(config, "kv_sharing_modes", None) is None
    )


@dataclass(frozen=True)
class Pass:
    """What one pass read: sequences, one per row."""

    indices: Sequence[int]
    """Of the sequences."""
    hidden: Tensor
    """States [rows, longest rest, D] of what follows the shared prefixes, padded on the right."""
    cache: Any
    """Keys and values of the prefixes, padded on the left, and of what follows, padded on the right."""
    starts: Sequence[int]
    """A row's first column in the cache; its sequence has no gap from there."""


def continued(
    body: Any,
    groups: Sequence[tuple[int, Sequence[int]]],
    sequences: Sequence[Sequence[int]],
    token_budget: int,
) -> Iterator[Pass]:
    """Read `sequences` by the groups of `shared_prefixes`, all with a prefix: each prefix once, and what
    follows in passes of similar lengths.

    `token_budget` bounds the padded tokens of the cache in a pass over the rest of the sequences.
    """
    from perbench.lm.padding import batches, even_groups, slack

    worth = slack(body, body.device)
    for chosen in batches([prefix for prefix, _ in groups], min(TOGETHER, token_budget)):
        bundle = [groups[i] for i in chosen]
        prefixes = [sequences[members[0]][:prefix] for prefix, members in bundle]
        width = max(map(len, prefixes))
        cache = _read(body, prefixes, width)
        rows = [(row, index) for row, (_, members) in enumerate(bundle) for index in members]
        rest = [sequences[index][len(prefixes[row]) :] for row, index in rows]
        for even in even_groups([len(tail) for tail in rest], worth):
            for of_even in batches([width + len(rest[i]) for i in even], token_budget):
                batch = [even[i] for i in of_even]
                picked = [rows[i][0] for i in batch]
                before = [prefixes[row] for row in picked]
                hidden, copied = _continue(body, cache, picked, before, [rest[i] for i in batch])
                yield Pass(
                    [rows[i][1] for i in batch], hidden, copied, [width - len(prefix) for prefix in before]
                )


def continued_hidden(
    body: Any,
    groups: Sequence[tuple[int, Sequence[int]]],
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    token_budget: int,
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of (indices, states [N, D] at the positions that predict their response tokens, in order);
    otherwise as `continued`."""
    import torch

    lengths = {index: prefix for prefix, members in groups for index in members}
    whole = [(*prompt, *answer[:-1]) for prompt, answer in zip(prompts, responses, strict=True)]
    for one in continued(body, groups, whole, token_budget):
        states = []
        for row, index in enumerate(one.indices):
            stop = len(whole[index]) - lengths[index]
            states.append(one.hidden[row, stop - len(responses[index]) : stop])
        yield list(one.indices), torch.cat(states)


def _read(body: Any, prefixes: Sequence[Sequence[int]], width: int) -> Any:
    """The cache after the prefixes, padded on the left so that distances to later tokens are as in the
    unpadded sequence (sliding windows count positions). It keeps all tokens, also those outside a window."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    device = body.device
    ids = torch.tensor([[*[0] * (width - len(prefix)), *prefix] for prefix in prefixes], device=device)
    padding = torch.tensor([width - len(prefix) for prefix in prefixes], device=device)[:, None]
    places = torch.arange(width, device=device)[None]
    options = {"position_ids": (places - padding).clamp(min=0), "attention_mask": places >= padding}
    body(input_ids=ids, past_key_values=cache, use_cache=True, **(options if padding.any() else {}))
    return cache


def _continue(
    body: Any,
    cache: Any,
    rows: Sequence[int],
    prefixes: Sequence[Sequence[int]],
    tails: Sequence[Sequence[int]],
) -> tuple[Tensor, Any]:
    """States [len(rows), longest tail, D] of the tails, each after its row of the cache, padded on the right;
    and their own cache."""
    import torch
    from transformers import DynamicCache

    device = body.device
    picked = torch.tensor(rows, device=device)

    def of_rows(states: Tensor) -> Tensor:
        # A single row is shared, not copied: the cache does not write to its input.
        return states.expand(len(rows), -1, -1, -1) if len(states) == 1 else states.index_select(0, picked)

    copied = DynamicCache([(of_rows(layer.keys), of_rows(layer.values)) for layer in cache.layers])
    width, length = cache.get_seq_length(), max(map(len, tails))
    ids = torch.tensor([[*tail, *[0] * (length - len(tail))] for tail in tails], device=device)
    before = torch.tensor([len(prefix) for prefix in prefixes], device=device)[:, None]
    places = torch.arange(width + length, device=device)[None]
    options = {
        "position_ids": before + torch.arange(length, device=device)[None],
        "attention_mask": places >= width - before,
    }
    padded = bool((before < width).any())
    states: Tensor = body(
        input_ids=ids, past_key_values=copied, use_cache=True, **(options if padded else {})
    ).last_hidden_state
    return states, copied
