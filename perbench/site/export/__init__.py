"""Exports the transfer table for papers and collections of results, with the page's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from perbench.contracts.results import Loaded, Matrix
from perbench.site.export import eval_results, every_eval_ever, figure, latex, table
from perbench.site.load import load
from perbench.site.matrix import matrix_of

Writer = Callable[[Loaded, Matrix, Path, Callable[[str], None]], list[Path]]
"""Writes into a folder, reports what the format cannot hold, and returns the files.

Raises:
    PerbenchError: nothing can be written in this format, or at this place.
"""

WRITERS: Mapping[str, Writer] = {
    "csv": table.write,
    "latex": latex.write,
    "svg": figure.write_svg,
    "png": figure.write_png,
    "eee": every_eval_ever.write,
    "eval_results": eval_results.write,
}


def export(
    runs: Sequence[Path],
    out: Path,
    formats: Sequence[str],
    *,
    baseline: str | None = None,
    left_out: Callable[[str], None] = lambda what: None,
    damaged: Callable[[str], None] = lambda what: None,
) -> list[Path]:
    """Write the transfer table of run directories in the named formats (WRITERS); the output is
    deterministic.

    Args:
        left_out: called with what a format cannot hold.
        damaged: called with each damaged record, which is left out.

    Raises:
        PerbenchError: as `perbench.site.build`; a package is missing; `out` is a file; a folder of an earlier
            export exists, whose files would mix with the new ones.
    """
    loaded = load(runs, baseline)
    matrix = matrix_of(loaded)
    files = [file for name in dict.fromkeys(formats) for file in WRITERS[name](loaded, matrix, out, left_out)]
    for damage in loaded.damaged:
        damaged(str(damage))
    return files
