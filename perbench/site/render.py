"""View -> one self-contained page. All text from records is escaped; the page may load nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perbench.contracts.missing import told
from perbench.disk.files import write_text
from perbench.errors import PerbenchError
from perbench.progress import duration
from perbench.site import format as text
from perbench.site.templates import MARK, render_page
from perbench.site.transfer import Cell, Column
from perbench.site.view import View, title
from perbench.store import CellRecord
from perbench.store.leftovers import sweep_old

SHADES = 4
WIDTH = 120  # of a drawn interval, in its own units


def render(view: View) -> str:
    """The page's HTML."""
    return render_page(
        "page.html",
        css=["app.css"],
        script="app.js",
        filters={
            "number": text.number,
            "interval": text.interval,
            "measured": text.measured,
            "duration": duration,
            "variation": text.variation,
            "flatten": text.flatten,
        },
        view=view,
        title=title,
        anchor=anchor,
        digests=digests,
        shade=shade,
        whisker=whisker,
        told=told,
    )


def write(page: str, out: Path) -> Path:
    """Put the page into `out` in one step; a reader sees the old page or the new.

    Raises:
        PerbenchError: `out` is a file, or a folder that holds something else.
    """
    if out.exists():
        if not out.is_dir():
            raise PerbenchError(f"{out} is a file; name a new or empty folder: --out DIR")
        foreign = sorted(p.name for p in out.iterdir() if not _ours(p))
        if foreign:
            raise PerbenchError(
                f"{out} holds {foreign[0]!r}, which no perbench page put there, so it is left alone. "
                "Name a new or empty folder: --out DIR"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "index.html", page)
    sweep_old([out])
    return out / "index.html"


def _ours(path: Path) -> bool:
    if path.name.startswith(".index.html."):
        return True  # what a killed build left behind
    return path.name == "index.html" and MARK in path.read_text(encoding="utf-8", errors="replace")[:2000]


def anchor(record: CellRecord) -> str:
    return f"cell-{record.identity[:16]}"


def digests(record: CellRecord) -> list[tuple[str, str]]:
    """The content digests and pinned revisions among the inputs."""
    chosen = ("data", "plugin", "revision")
    return [
        (path, value)
        for path, value in text.flatten(record.inputs)
        if (last := path.rpartition(".")[2]) in chosen or "sha256" in last or "digest" in last
    ]


def shade(cell: Cell, column: Column) -> str:
    """CSS class of a gain: blue above zero, orange below, deeper with its size, pale while the interval
    includes zero."""
    gain = cell.gain
    if gain is None or not gain.value or not column.reach:
        return ""
    level = min(SHADES, 1 + int(SHADES * abs(gain.value) / column.reach))
    hue = "up" if gain.value > 0 else "down"
    return f"{hue}{level}" if gain.excludes_zero else f"{hue}0"


def whisker(cell: Cell, column: Column) -> dict[str, Any] | None:
    """Where an interval's ends and its value lie on a drawing WIDTH wide whose middle is zero."""
    gain = cell.gain
    if gain is None or gain.ci is None or gain.value is None or not column.reach:
        return None
    scale = (WIDTH / 2 - 3) / column.reach
    lo, hi, at = (round(WIDTH / 2 + value * scale, 1) for value in (*gain.ci, gain.value))
    return {"width": WIDTH, "zero": WIDTH / 2, "lo": lo, "hi": hi, "at": at}
