"""The location of the user cache, which all runs share."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$PERBENCH_CACHE`, else `$XDG_CACHE_HOME/perbench`, else `~/.cache/perbench`; it may not exist yet."""
    own = os.environ.get("PERBENCH_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").absolute() / "perbench"
