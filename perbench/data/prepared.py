"""Folders that `perbench data prepare` wrote: where they lie, and what their manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError
from perbench.plugins import family_name

MANIFEST = "manifest.json"


def prepared_folder(family: str) -> Path:
    """Where the family's rows lie when `--out` names no other folder; it may not exist yet. Dashes in the
    family's name are read as in `perbench.plugins.get`."""
    return cache_dir() / "data" / family_name(family)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, {} where there is none.

    Raises:
        PerbenchError: it is damaged.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise PerbenchError(f"{path} is damaged ({error}); delete it and prepare the data again") from None
    if not isinstance(found, dict):
        raise PerbenchError(f"{path} is damaged (no JSON object); delete it and prepare the data again")
    return found


def origin(folder: Path) -> dict[str, Any]:
    """What a record says of a folder's origin: the family and where its rows are from."""
    manifest = read_manifest(folder)
    return {name: manifest[name] for name in ("family", "origin", "official") if name in manifest}
