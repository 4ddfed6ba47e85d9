"""Replies of endpoints kept on disk, so that a request is paid once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perbench.contracts.engine import Generation
from perbench.disk.digests import canonical_digest
from perbench.disk.folder import cache_dir
from perbench.disk.sealed import Unsealed, read_sealed, write_sealed
from perbench.progress import Progress

FIELDS = ("text", "finish_reason", "prompt_tokens", "new_tokens", "missing")


class ReplyCache:
    """One file per request below `replies/` of the user cache, named by the sha256 of what was asked: base
    URL, model, messages, sampling and repetition (the seed). Neither the request nor any key is stored.

    A file is written whole by one rename, so processes may share the cache and a kill leaves no half reply.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder if folder is not None else cache_dir() / "replies"

    def file(self, base_url: str, body: Mapping[str, Any]) -> Path:
        """Where the reply to a request is kept."""
        digest = canonical_digest({"base_url": base_url, **body})
        return self._folder / digest[:2] / f"{digest}.json"

    def get(self, file: Path) -> tuple[Generation, list[str]] | None:
        """The reply kept there and the name that its model gave itself; None where there is none, where it is
        damaged, which is reported, and where it has no seal, as earlier versions wrote it."""
        try:
            value = read_sealed(file, file.stem)
            return Generation(**{name: value[name] for name in FIELDS}), list(value["served"])
        except (FileNotFoundError, Unsealed):
            return None
        except (ValueError, KeyError) as error:
            Progress(0).say(f"{file}: {error}; the request is made again")
            return None

    def put(self, file: Path, reply: Generation, served: list[str]) -> None:
        """Keep a reply, durably."""
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: getattr(reply, name) for name in FIELDS}
        write_sealed(file, {**kept, "served": served}, file.stem)
