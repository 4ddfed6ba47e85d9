"""Stored samples as people read them, drawn by the section that knows them."""

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
        PerbenchError: no section draws the samples of these cells.
    """
    for cls in sorted(plugins.classes("section").values(), key=lambda cls: cls.order):
        found: Reading | None = cls().reading(cells)
        if found is not None:
            return found
    raise PerbenchError("no section of the results draws the samples of these cells")


def check_place(out: Path) -> None:
    """Say before anything is computed that a page cannot be written to `out`.

    Raises:
        PerbenchError: the folder is not there, or a file is that no perbench page is.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise PerbenchError(f"--html {out}: name a file in a folder that exists")
    if out.exists() and MARK not in out.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise PerbenchError(f"--html {out}: no perbench page, so it is left alone; name another file")


def write_page(reading: Reading, out: Path) -> None:
    """Write the page to `out` in one step; raises as `check_place`."""
    check_place(out)
    write_text(out, reading.page())
