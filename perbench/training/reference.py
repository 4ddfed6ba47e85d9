"""Log-probs under a frozen reference: computed once, shared by all processes, cached in the user cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perbench import processes
from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest
from perbench.lm.contrast import Contrast
from perbench.prompts.pair import PromptPair

CACHE = DiskCache("effects")


def cached(
    digest: str,
    dtype: str,
    pairs: Sequence[PromptPair],
    compute: Callable[[Sequence[PromptPair]], list[Contrast]],
) -> list[Contrast]:
    """The contrast of every pair, in order, float32 on the CPU; a pair of answers has that of both, one after
    the other.

    It is cached by weights (`digest`), pairs (in order) and `dtype`. If it is not in the user cache, each
    process computes a share, and the first one stores all.

    Raises:
        OSError, PerbenchError: the cache cannot be written.
    """
    group = processes.group()
    key = effects_key(digest, dtype, pairs)
    with group.agreed():
        stored = _read(key, pairs) if group.main else None
    if (stored := group.broadcast(stored)) is not None:
        return stored
    with group.agreed():
        share = compute(pairs[group.rank :: group.world])
    shares = group.gather(share)
    found = [shares[i % group.world][i // group.world] for i in range(len(pairs))]
    with group.agreed():
        if group.main:
            _write(key, found)
    return found


def effects_key(digest: str, dtype: str, pairs: Sequence[PromptPair]) -> str:
    """The cache key of the log-probs, over everything they depend on."""
    sequences = [
        [pair.factual, pair.counterfactual, *(side.response for side in pair.sides)] for pair in pairs
    ]
    return canonical_digest([1, digest, dtype, sequences])


def _read(key: str, pairs: Sequence[PromptPair]) -> list[Contrast] | None:
    import torch

    kept = CACHE.get([key]).get(key)
    if kept is None:
        return None
    sizes = [pair.answer_tokens for pair in pairs]
    parts = torch.split(torch.frombuffer(bytearray(kept), dtype=torch.float32), [*sizes, *sizes])
    return [Contrast(*both) for both in zip(parts[: len(pairs)], parts[len(pairs) :], strict=True)]


def _write(key: str, found: Sequence[Contrast]) -> None:
    import torch

    values = torch.cat([*(one.factual for one in found), *(one.counterfactual for one in found)])
    CACHE.put({key: values.numpy().tobytes()})
