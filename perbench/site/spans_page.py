"""SpansView -> one self-contained page that opens from disk and needs JavaScript only to sort."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perbench.disk.files import write_text
from perbench.errors import PerbenchError
from perbench.site.format import number
from perbench.site.spans import Answer, Samples, SpansView, spans_view
from perbench.site.templates import MARK, render_page
from perbench.store import CellRecord


def check_place(out: Path) -> None:
    """Say before anything is scored that a page cannot be written to `out`.

    Raises:
        PerbenchError: the folder is not there, or a file is that no perbench page is.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise PerbenchError(f"--html {out}: name a file in a folder that exists")
    if out.exists() and MARK not in out.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise PerbenchError(f"--html {out}: no perbench page, so it is left alone; name another file")


def write_spans(cells: Sequence[tuple[CellRecord, Samples]], out: Path) -> None:
    """Write the page of identify records and their stored samples to `out`, in one step.

    Raises:
        PerbenchError: as `check_place`.
    """
    check_place(out)
    write_text(out, render_spans(spans_view(cells)))


def render_spans(view: SpansView) -> str:
    """The page's HTML; the same view gives the same bytes."""
    return render_page(
        "spans.html",
        css=["app.css", "spans.css"],
        script="spans.js",
        filters={"number": number, "errors": _errors, "score": repr},
        view=view,
        models=sorted({column.model for column in view.columns}),
        targets=sorted({column.target for column in view.columns}),
    )


def _errors(answer: Answer) -> list[tuple[str, list[tuple[str, str]]]]:
    """The errors in words, so that nothing is told by colour alone."""
    named = (("wrong", answer.wrong), ("missed", answer.missed))
    return [(what, [(text, number(score, 2)) for text, score in errors]) for what, errors in named if errors]
