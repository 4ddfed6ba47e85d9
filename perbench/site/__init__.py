"""Records -> pages and tables. Reads records only; never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from perbench.site.load import load
from perbench.site.render import render, write
from perbench.site.view import build_view
from perbench.store import DamagedRecord


def build(
    runs: Sequence[Path],
    out: Path,
    *,
    baseline: str | None = None,
    damaged: Callable[[DamagedRecord], None] = lambda damage: None,
) -> Path:
    """Write the leaderboard of one or several run directories to `out`; returns the page's path. What is
    damaged is left out, named on the page, and handed to `damaged`.

    The same records give the same bytes, in whatever order the runs are named.

    Raises:
        PerbenchError: a run is absent or empty, or holds nothing but damage; the runs disagree about the
            baseline; `out` holds something else than a perbench page.
    """
    loaded = load(runs, baseline)
    page = write(render(build_view(loaded)), out)
    for damage in loaded.damaged:
        damaged(damage)
    return page
