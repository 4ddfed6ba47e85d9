"""Log-probs under a frozen reference: computed once, shared by all processes, kept in the user cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perbench import processes
from perbench.disk.digests import canonical_digest
from perbench.disk.files import replacing
from perbench.disk.folder import cache_dir
from perbench.lm.contrast import Contrast
from perbench.prompts.pair import PromptPair

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("factual", "counterfactual")


def cached(
    digest: str,
    dtype: str,
    pairs: Sequence[PromptPair],
    compute: Callable[[Sequence[PromptPair]], list[Contrast]],
) -> list[Contrast]:
    """The contrast of every pair, in order, float32 on the CPU.

    What was computed for the same weights (`digest`), pairs (in the same order) and `dtype` is
    read from the user cache, if it has the sha256 of what was written. Else each process computes its share,
    and the first one stores all.

    Raises:
        OSError: the cache cannot be written.
    """
    group = processes.group()
    path = effects_path(digest, dtype, pairs)
    with group.agreed():
        stored = _read(path, pairs) if group.main else None
    if (stored := group.first(stored)) is not None:
        return stored
    with group.agreed():
        share = compute(pairs[group.rank :: group.world])
    shares = group.gather(share)
    found = [shares[i % group.world][i // group.world] for i in range(len(pairs))]
    with group.agreed():
        if group.main:
            _write(path, found)
    return found


def effects_path(digest: str, dtype: str, pairs: Sequence[PromptPair]) -> Path:
    """Where the log-probs are kept: named by what they depend on, so they are never out of date."""
    sequences = [[pair.factual, pair.counterfactual, pair.response] for pair in pairs]
    return cache_dir() / "effects" / f"{canonical_digest([1, digest, dtype, sequences])}.safetensors"


def _read(path: Path, pairs: Sequence[PromptPair]) -> list[Contrast] | None:
    import torch
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    sizes = [len(pair.response) for pair in pairs]
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            seal = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError):
        return None  # damaged: computed again, and replaced
    if {name: part.shape for name, part in stored.items()} != dict.fromkeys(NAMES, (sum(sizes),)):
        return None
    if seal != _seal(path, stored):
        return None
    halves = [torch.split(stored[name], sizes) for name in NAMES]
    return [Contrast(*both) for both in zip(*halves, strict=True)]


def _seal(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the file's name, which says what was computed, and the tensors."""
    digest = hashlib.sha256(path.name.encode())
    for name in NAMES:
        digest.update(f"{name} {tensors[name].dtype}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, found: Sequence[Contrast]) -> None:
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "factual": torch.cat([part.factual for part in found]),
        "counterfactual": torch.cat([part.counterfactual for part in found]),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"sha256": _seal(path, tensors)})
