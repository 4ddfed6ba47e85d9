"""Replies of endpoints kept on disk, so that a request is paid once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perbench.cache import cache_dir, canonical_digest
from perbench.engines.base import Generation
from perbench.errors import PerbenchError
from perbench.store.files import write_json

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
        """The reply kept there and the name that its model gave itself; None where there is none.

        Raises:
            PerbenchError: the file is damaged, which no kill explains.
        """
        try:
            value = json.loads(file.read_bytes())
            if "missing" not in value and not value["text"].strip():
                return None  # kept before replies said whether an answer was missing: this one may have been
            value.setdefault("missing", None)
            return Generation(**{name: value[name] for name in FIELDS}), list(value.get("served", []))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PerbenchError(f"{file} is damaged; delete it, and the request is made again") from None

    def put(self, file: Path, reply: Generation, served: list[str]) -> None:
        """Keep a reply, durably."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {**{name: getattr(reply, name) for name in FIELDS}, "served": served})
