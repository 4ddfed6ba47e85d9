"""Log-probs of given texts under an untrained model, kept in the user cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
"""Raised when the same weights and tokens get other values."""
AT_ONCE = 128
"""Texts scored between two writes, at most: what an interruption loses."""

Ids = Sequence[int]


def cached_logp(
    model: Mapping[str, Any],
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    score: Callable[[Sequence[Ids], Sequence[Ids]], Sequence[np.ndarray[Any, Any]]],
) -> list[np.ndarray[Any, Any]]:
    """`Engine.score` of every pair, in order.

    Args:
        model: what identifies the weights and what computes with them.
        score: computes what is not in the cache.

    Raises:
        OSError, PerbenchError: the cache cannot be read or written.
    """
    import numpy as np

    pairs = list(zip(map(tuple, prompts), map(tuple, responses), strict=True))
    whose = canonical_digest([VERSION, model])
    keys = [canonical_digest([whose, prompt, response]) for prompt, response in pairs]
    cache, kept = DiskCache("logp"), dict[str, bytes]()
    pair_of = dict(zip(keys, pairs, strict=True))
    names = list(pair_of)
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        kept |= cache.get(part)  # anew each time: other processes may be at the same texts
        due = [key for key in part if key not in kept]
        found = score(*zip(*(pair_of[key] for key in due), strict=True)) if due else ()
        made = {
            key: np.asarray(values, dtype="<f4").tobytes() for key, values in zip(due, found, strict=True)
        }
        if made:
            cache.put(made)
            kept |= made | cache.get(due)  # those of the first, if another process was
    return [np.frombuffer(kept[key], dtype="<f4") for key in keys]
