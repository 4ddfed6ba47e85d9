"""Builds pages and tables from records, without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from perbench.heap import growing, settled
from perbench.site.cells import CellPages, SampleTexts
from perbench.site.cells.groups import GroupPages
from perbench.site.load import load
from perbench.site.render import files
from perbench.site.split import LACKS, Split
from perbench.site.view import build_view
from perbench.site.write import write


def build(
    runs: Sequence[Path],
    out: Path,
    *,
    baseline: str | None = None,
    texts: SampleTexts | None = None,
    left_out: Callable[[str], None] = lambda what: None,
    warn: Callable[[str], None] = lambda what: None,
) -> Path:
    """Write the leaderboard of one or several run directories to `out` and return its first page. Damaged
    records and broken sections are left out, listed on the page, and passed to `left_out` with the reason.

    Args:
        texts: how the samples of the cells are read; None leaves them out.
        warn: called with what a site of so many cells lacks.

    The output is byte-identical for the same records, whatever the order of the runs.

    Raises:
        PerbenchError: a run is absent or empty, or holds only damaged records; the runs have different
            baselines; `out` holds something other than a perbench page.
    """
    with ExitStack() as stack:
        with growing():
            loaded = load(runs, baseline)
            view = build_view(loaded)
            stack.enter_context(settled())
        matrices = {str(number): spec for number, spec in enumerate(loaded.matrices) if "targets" in spec}
        split = Split(view)
        cells: CellPages | GroupPages = (
            GroupPages(view, samples=texts is not None)
            if split.large
            else CellPages(view, texts, matrices, left_out)
        )
        page = write(files(view, cells, split), out)
    for what in (*map(str, loaded.damaged), *(f"section {name}: {why}" for name, why in view.broken)):
        left_out(what)
    if split.large:
        warn(LACKS)
    return page
