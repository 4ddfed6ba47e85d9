"""Locates folders written by `perbench data prepare` and reads their manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError
from perbench.plugins import family_name

MANIFEST = "manifest.json"


def prepared_folder(family: str) -> Path:
    """The default folder of the family's rows, which may not exist yet. Dashes in the family's name are
    treated as in `perbench.plugins.get`."""
    return cache_dir() / "data" / family_name(family)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, or {}.

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
        raise PerbenchError(f"{path} is damaged (not a JSON object); delete it and prepare the data again")
    return found


def origin(folder: Path) -> dict[str, Any]:
    """The origin of a folder for records: the family and the source of its rows."""
    manifest = read_manifest(folder)
    return {name: manifest[name] for name in ("family", "origin", "official") if name in manifest}
