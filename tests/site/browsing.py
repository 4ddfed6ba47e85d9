"""Pages opened from the disk in a real browser: what they may request, and that they do not complain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.store import read_records

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE = {"width": 1240, "height": 900}
NARROW = {"width": 390, "height": 844}
PAPER = {"width": 718, "height": 1046}
"""A4 without margins of 1 cm; pixels, as above."""


@contextmanager
def opened(browser: Browser, site: Path, name: str = "index.html", **options: Any) -> Iterator[Page]:
    """The page `name`, a file with an optional "#…", of the folder `site`. At the end it, and those it went
    to, must have asked for nothing but files of the folder, and neither complained nor opened a dialog.

    Args:
        options: of the browser's context, such as `color_scheme`.
    """
    options = {"viewport": WIDE, **options}
    context = browser.new_context(**options)
    asked: list[str] = []
    complaints: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("console", lambda message: complaints.append(f"{page.url}: {message.text}"))
    page.on("dialog", lambda dialog: (complaints.append(f"{page.url}: {dialog.message}"), dialog.dismiss()))
    page.set_default_timeout(20_000)
    try:
        page.goto(address(site, name))
        yield page
    finally:
        context.close()
    own = site.as_uri() + "/"
    assert [url for url in asked if not url.startswith((own, "data:"))] == []
    assert complaints == []


def address(site: Path, name: str) -> str:
    file, hash_, state = name.partition("#")
    return (site / file).as_uri() + hash_ + state


def pages(site: Path) -> list[str]:
    """Every page of the site."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def kinds(site: Path, runs: Sequence[Path]) -> list[str]:
    """A page of each kind: every page at the top, a cell of each kind, state and protocol, and of every other
    folder those with different headings."""
    found: dict[tuple[str, ...], str] = {}
    known = {record.identity[:16]: record for run in runs for record, _ in read_records(run)}
    for name in pages(site):
        folder, _, file = name.rpartition("/")
        record = known.get(Path(file).stem) if folder else None
        if record is not None:
            target = record.inputs.get("target") or {}
            shape: tuple[str, ...] = (record.kind, record.status, str(target.get("protocol")))
        elif folder:
            shape = tuple(re.findall(r"<h2[^>]*>([A-Za-z ]+)", (site / name).read_text(encoding="utf-8")))
        else:
            shape = (name,)
        found.setdefault((folder, *shape), name)
    return sorted(found.values())
