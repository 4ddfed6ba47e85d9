"""Records -> pages and tables. Reads records only; never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from perbench.site.load import load
from perbench.site.render import render, write
from perbench.site.view import build_view


def build(
    runs: Sequence[Path],
    out: Path,
    *,
    baseline: str | None = None,
    left_out: Callable[[str], None] = lambda what: None,
) -> Path:
    """Write the leaderboard of one or several run directories to `out`; returns the page's path. Damaged
    records and broken sections are left out, named on the page, and handed to `left_out` with the reason.

    The same records give the same bytes, in whatever order the runs are named.

    Raises:
        PerbenchError: a run is absent or empty, or holds nothing but damage; the runs disagree about the
            baseline; `out` holds something else than a perbench page.
    """
    loaded = load(runs, baseline)
    view = build_view(loaded)
    page = write(render(view), out)
    for what in (*map(str, loaded.damaged), *(f"section {name}: {why}" for name, why in view.broken)):
        left_out(what)
    return page
