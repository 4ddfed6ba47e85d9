"""sha256 of values and of files: what identities, records and caches are named and checked by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_digest(value: Any) -> str:
    """sha256 over canonical JSON: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        TypeError: the value holds something that JSON has no form for.
        ValueError: it holds NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_sha256(path: Path) -> str:
    """sha256 of a file's content, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
