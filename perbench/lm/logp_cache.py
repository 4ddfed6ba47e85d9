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
    cache = DiskCache("logp")
    kept = cache.get(list(dict.fromkeys(keys)))
    due = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in kept}
    names = list(due)
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        found = score([due[key][0] for key in part], [due[key][1] for key in part])
        made = {
            key: np.asarray(values, dtype="<f4").tobytes() for key, values in zip(part, found, strict=True)
        }
        cache.put(made)
        kept |= made
    return [np.frombuffer(kept[key], dtype="<f4") for key in keys]
