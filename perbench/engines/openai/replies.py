"""On-disk cache of endpoint replies, so that a request is paid for once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perbench.contracts.engine import Generation
from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest
from perbench.disk.sealed import read_sealed

FIELDS = ("text", "finish_reason", "prompt_tokens", "new_tokens", "missing")


class ReplyCache:
    """Replies by the sha256 of the request: base URL, model, messages, sampling and repetition (the seed).
    Neither requests nor keys are stored. `folder` as in `DiskCache`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._cache = DiskCache("replies", folder)

    def key(self, base_url: str, body: Mapping[str, Any]) -> str:
        """The cache key of a request."""
        return canonical_digest({"base_url": base_url, **body})

    def get(self, key: str) -> tuple[Generation, list[str]] | None:
        """The cached reply and the model name it reported, or None."""
        kept = self._cache.get([key]).get(key)
        value = json.loads(kept) if kept is not None else self._of_version_0_1(key)
        if value is None:
            return None
        return Generation(**{name: value[name] for name in FIELDS}), list(value["served"])

    def put(self, key: str, reply: Generation, served: list[str]) -> None:
        """Store a reply durably."""
        kept = {**{name: getattr(reply, name) for name in FIELDS}, "served": served}
        self._cache.put({key: json.dumps(kept).encode()})

    def _of_version_0_1(self, key: str) -> dict[str, Any] | None:
        """The reply as perbench 0.1 stored it, one file each."""
        try:
            return read_sealed(self._cache.path.with_suffix("") / key[:2] / f"{key}.json", key)
        except (OSError, ValueError):  # absent or damaged
            return None
