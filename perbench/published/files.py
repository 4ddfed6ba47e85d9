"""Published files in place of a run directory."""

from __future__ import annotations

from pathlib import Path

from perbench.published.read import AGAIN, whole
from perbench.published.rules import faults_of
from perbench.published.shape import Published
from perbench.store.check import DamagedRecord

MOST_SHOWN = 3
"""Maximum faults in a message."""
CHECK = f"`perbench leaderboard check FILE` lists all faults; {AGAIN}"


def published_files(place: Path) -> list[Path]:
    """The published files of a folder, or the file itself; [] for a run directory or anything else."""
    if place.is_dir():
        return [] if (place / "cells").is_dir() else sorted(place.glob("*.json"))
    return [place] if place.suffix == ".json" else []


def read_published(path: Path) -> Published:
    """
    Raises:
        DamagedRecord: no `perbench leaderboard add` wrote the file; the message has the first faults. Whether
            its numbers follow from its scores is not checked.
    """
    found, faults = whole(path)
    if found is not None:
        faults += faults_of(found)
    if found is None or faults:
        more = f", and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
        what = "; ".join(": ".join(filter(None, fault[:2])) for fault in faults[:MOST_SHOWN])
        raise DamagedRecord(path, what + more, CHECK)
    return found
