"""Records -> pages and tables. Reads records only; never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perbench.site.load import load
from perbench.site.render import render, write
from perbench.site.view import build_view


def build(runs: Sequence[Path], out: Path, *, baseline: str | None = None) -> Path:
    """Write the leaderboard of one or several run directories to `out`; returns the page's path.

    The same records give the same bytes, in whatever order the runs are named.

    Raises:
        PerbenchError: a run is absent, empty or damaged; the runs disagree about the baseline; `out` holds
            something else than a perbench page.
    """
    return write(render(build_view(load(runs, baseline))), out)
