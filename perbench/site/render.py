"""Renders the view as one self-contained page: text from records is escaped, and nothing is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perbench.contracts.missing import in_words
from perbench.contracts.section import Table, Value
from perbench.disk.files import write_text
from perbench.errors import PerbenchError
from perbench.progress import duration
from perbench.site import format as text
from perbench.site.templates import MARK, render_page
from perbench.site.view import SiteView, title
from perbench.store import CellRecord
from perbench.store.leftovers import sweep_old

SHADES = 4
WIDTH = 120  # of a drawn interval, in drawing units


def render(view: SiteView) -> str:
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
        included={f"{one.name}/section.html": one.template for one in view.sections if one.template},
        view=view,
        title=title,
        anchor=anchor,
        digests=digests,
        reach=reach,
        shade=shade,
        whisker=whisker,
        in_words=in_words,
    )


def write(page: str, out: Path) -> Path:
    """Replace the page in `out` in one step.

    Raises:
        PerbenchError: `out` is a file, or a folder that holds something else.
    """
    if out.exists():
        if not out.is_dir():
            raise PerbenchError(f"{out} is a file; name a new or empty folder: --out DIR")
        foreign = sorted(p.name for p in out.iterdir() if not _ours(p))
        if foreign:
            raise PerbenchError(
                f"{out} holds {foreign[0]!r}, which is not part of a perbench page, so nothing was written; "
                "name a new or empty folder: --out DIR"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "index.html", page)
    sweep_old([out])
    return out / "index.html"


def _ours(path: Path) -> bool:
    if path.name.startswith(".index.html."):
        return True  # left by a killed build
    return path.name == "index.html" and MARK in path.read_text(encoding="utf-8", errors="replace")[:2000]


def anchor(record: CellRecord) -> str:
    return f"cell-{record.identity[:16]}"


def digests(record: CellRecord) -> list[tuple[str, str]]:
    """Content digests and pinned revisions among the inputs."""
    chosen = ("data", "plugin", "revision")
    return [
        (path, value)
        for path, value in text.flatten(record.inputs)
        if (last := path.rpartition(".")[2]) in chosen or "sha256" in last or "digest" in last
    ]


def reach(table: Table) -> list[float]:
    """For each column, the largest absolute bound of its gains' intervals, which sets the drawing's scale."""
    return [
        max((abs(bound) for v in column if v.gain and v.gain.ci for bound in v.gain.ci), default=0.0)
        for column in table.numbers
    ]


def shade(value: Value, reach: float) -> str:
    """CSS class of a gain: blue for better, orange for worse, darker with size; pale if only its own interval
    excludes 0, none if it includes 0."""
    gain = value.gain
    if gain is None or not gain.value or not reach or not value.verdict or not gain.excludes_zero:
        return ""
    level = min(SHADES, 1 + int(SHADES * abs(gain.value) / reach)) if gain.remains else 0
    return f"{value.verdict}{level}"


def whisker(value: Value, reach: float) -> dict[str, Any] | None:
    """Positions of an interval's ends and value on a drawing of WIDTH whose middle is zero."""
    gain = value.gain
    if gain is None or gain.ci is None or gain.value is None or not reach:
        return None
    scale = (WIDTH / 2 - 3) / reach
    lo, hi, at = (round(WIDTH / 2 + bound * scale, 1) for bound in (*gain.ci, gain.value))
    return {"width": WIDTH, "zero": WIDTH / 2, "lo": lo, "hi": hi, "at": at}
