"""Shows stored samples for reading, drawn by the section that supports their protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perbench import plugins
from perbench.contracts.section import Reading, Samples
from perbench.disk.files import write_text
from perbench.errors import PerbenchError
from perbench.site.templates import MARK
from perbench.store import CellRecord


def reading_of(cells: Sequence[tuple[CellRecord, Samples]]) -> Reading:
    """
    Raises:
        PerbenchError: no section can draw the samples of these cells.
    """
    for cls in sorted(plugins.classes("section").values(), key=lambda cls: cls.order):
        found: Reading | None = cls().reading(cells)
        if found is not None:
            return found
    raise PerbenchError("no section of the results can draw the samples of these cells")


def check_place(out: Path) -> None:
    """Check before any computation that a page can be written to `out`.

    Raises:
        PerbenchError: its folder does not exist, or it is a file other than a perbench page.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise PerbenchError(f"--html {out}: name a file in a folder that exists")
    if out.exists() and MARK not in out.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise PerbenchError(f"--html {out}: not a perbench page, so it is not overwritten; name another file")


def write_page(reading: Reading, out: Path) -> None:
    """Replace the page at `out` in one step; raises as `check_place`."""
    check_place(out)
    write_text(out, reading.page())
