"""Embeds texts as the mean of an encoder's last hidden states (as Contriever, arXiv 2112.09118)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.lm.device import device
from perbench.lm.finite import check_finite
from perbench.lm.model_files import check_loaded
from perbench.lm.padding import batches

if TYPE_CHECKING:
    import numpy as np

TOKEN_BUDGET = 16384
"""Padded tokens encoded at once."""
AT_ONCE = 1024
"""Texts between two writes: the most that a killed run encodes again."""
REQUESTS = 256
"""Requests whose vectors are held at once."""
VERSION = 1
"""Raised by hand when vectors change."""
KEYS = ("missing_keys", "unexpected_keys")


class Encoder:
    """Text vectors, cached on disk by (encoder, text). The weights are loaded for the first text that is not
    cached. `folder` makes the encoder available; `digest` identifies it."""

    def __init__(self, folder: Callable[[], Path], digest: str) -> None:
        self._folder = folder
        self._digest = digest
        self._cache = DiskCache("embeddings")
        self._loaded: tuple[Any, Any, int] | None = None

    def __call__(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """[len(texts), size], float32; texts beyond the encoder's context are truncated.

        Raises:
            PerbenchError: the folder holds no encoder, or its embeddings are not finite.
        """
        import numpy as np

        keys = [canonical_digest([VERSION, self._digest, text]) for text in texts]
        text_of = dict(zip(keys, texts, strict=True))
        found = self._cache.get(list(text_of))
        missing = sorted(set(text_of) - set(found), key=lambda key: (len(text_of[key]), key))
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            vectors = self._encode([text_of[key] for key in part])
            made = {key: row.tobytes() for key, row in zip(part, vectors, strict=True)}
            self._cache.put(made)
            found.update(made)
        return np.stack([np.frombuffer(found[key], dtype="<f4") for key in keys])

    def _encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        import numpy as np
        import torch

        model, tokenizer, longest = self._load()
        ids = tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
        rows: dict[int, Any] = {}
        with torch.inference_mode():
            for group in batches([len(row) for row in ids], TOKEN_BUDGET):
                width = max(1, *(len(ids[i]) for i in group))
                # The tokenizer may have no pad token, or one outside the embedding.
                padded = torch.tensor([[*ids[i], *[0] * (width - len(ids[i]))] for i in group])
                kept = torch.tensor([[1] * len(ids[i]) + [0] * (width - len(ids[i])) for i in group])
                padded, kept = padded.to(model.device), kept.to(model.device)
                states = model(input_ids=padded, attention_mask=kept).last_hidden_state.float()
                mask = kept.unsqueeze(-1).float()
                means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
                check_finite(means, "embeddings")
                rows.update(zip(group, means.cpu().numpy().astype("<f4"), strict=True))
        return np.stack([rows[i] for i in range(len(texts))])

    def _load(self) -> tuple[Any, Any, int]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            folder = self._folder()
            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(folder)
                model, info = AutoModel.from_pretrained(
                    folder,
                    dtype=torch.float32,
                    use_safetensors=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                )
            except Exception as error:  # damaged files raise any parser's errors
                raise PerbenchError(f"{folder}: the encoder does not load: {error}") from error
            # Checkpoints may add heads, or lack the unused pooler.
            parts = {name for name, _ in model.named_children()} - {"pooler"}
            own = {name: {key for key in info[name] if _part(key, model) in parts} for name in KEYS}
            check_loaded({**info, **own}, folder)
            model.eval()
            room = getattr(model.config, "max_position_embeddings", None)
            longest = min(length for length in (tokenizer.model_max_length, room) if length is not None)
            self._loaded = model.to(device()), tokenizer, int(longest)
        return self._loaded


def _part(key: str, model: Any) -> str:
    """The part of the model that holds a tensor: "bert.encoder.layer.0..." -> "encoder"."""
    return key.removeprefix(f"{model.base_model_prefix}.").partition(".")[0]


def similarities(
    encode: Callable[[Sequence[str]], np.ndarray[Any, Any]],
    requests: Sequence[tuple[str, Sequence[str]]],
    *,
    cosine: bool,
) -> list[list[float]]:
    """For each (query, texts): the similarity of every text to the query; requests are encoded together."""
    parts = [requests[start : start + REQUESTS] for start in range(0, len(requests), REQUESTS)]
    return [scores for part in parts for scores in _similarities(encode, part, cosine=cosine)]


def _similarities(
    encode: Callable[[Sequence[str]], np.ndarray[Any, Any]],
    requests: Sequence[tuple[str, Sequence[str]]],
    *,
    cosine: bool,
) -> list[list[float]]:
    import numpy as np

    texts = list(dict.fromkeys(text for query, own in requests for text in (query, *own)))
    vectors = encode(texts)
    if cosine:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    place = {text: number for number, text in enumerate(texts)}
    return [
        (vectors[[place[text] for text in own]] @ vectors[place[query]]).tolist() if own else []
        for query, own in requests
    ]
