"""The user cache: what is made once and is the same for every run (converted weights, file hashes)."""

from __future__ import annotations

import os
from pathlib import Path

from perbench.digests import canonical_digest as canonical_digest
from perbench.digests import read_sha256 as read_sha256
from perbench.store.files import write_text


def cache_dir() -> Path:
    """`$PERBENCH_CACHE`, else `$XDG_CACHE_HOME/perbench`, else `~/.cache/perbench`; it may not exist yet."""
    own = os.environ.get("PERBENCH_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "perbench"


def file_sha256(path: Path) -> str:
    """sha256 of a file, remembered in the user cache by (path, size, mtime): weights are read once."""
    stat = path.stat()
    key = canonical_digest([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    known = cache_dir() / "sha256" / key
    if known.is_file():
        return known.read_text(encoding="ascii")
    digest = read_sha256(path)
    known.parent.mkdir(parents=True, exist_ok=True)
    write_text(known, digest)
    return digest
