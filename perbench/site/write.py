"""Writes the files of a site as a folder that holds nothing else."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from perbench.disk.files import sync_folder
from perbench.errors import PerbenchError
from perbench.site.templates import MARK
from perbench.store.leftovers import DAY
from perbench.store.rundir import PAGES

GENERATOR = "perbench leaderboard build"


def write(files: Iterable[tuple[str, str | bytes]], out: Path) -> Path:
    """Replace the site in `out` and return its first page. The new site is complete before the old one goes;
    if it cannot be made, the old one stays.

    Raises:
        PerbenchError: `out` is a file, or a folder that holds something else.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise PerbenchError(f"{out} is a file; name a new or empty folder: --out DIR")
    known = _listed(out)
    foreign = sorted(name for name in _held(out) if name not in known)
    if foreign:
        raise PerbenchError(
            f"{out} holds {foreign[0]!r}, which is not part of a perbench page, so nothing was written; "
            "name a new or empty folder: --out DIR"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    new = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        names, folders = [], set[Path]()
        for name, content in files:
            file = new / name
            if file.parent not in folders:
                file.parent.mkdir(parents=True, exist_ok=True)
                folders.add(file.parent)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            names.append(name)
        listed = json.dumps({"generator": GENERATOR, "files": sorted(names)}, indent=1)
        (new / PAGES).write_text(listed + "\n", encoding="utf-8")
        if out.exists():
            old = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
            os.replace(out, old)
            try:
                os.replace(new, out)
            except OSError:
                os.replace(old, out)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    sync_folder(out.parent)
    return out / "index.html"


def _held(out: Path) -> list[str]:
    """Files and links in the folder, as paths within it."""
    return [
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_symlink() or not path.is_dir()
    ]


def _listed(out: Path) -> set[str]:
    """The files of an earlier build; or the one page that older versions wrote."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((out / PAGES).read_text(encoding="utf-8"))
        if found["generator"] == GENERATOR:
            return {*map(str, found["files"]), PAGES}
    with suppress(OSError), (out / "index.html").open(encoding="utf-8", errors="replace") as page:
        if MARK in page.read(2000):
            return {"index.html"}
    return set()


def _sweep(out: Path) -> None:
    """Remove what builds of `out` left that were killed at least a day ago."""
    left = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.tmp")
    for path in out.parent.iterdir():
        with suppress(OSError):
            if left.fullmatch(path.name) and path.stat().st_mtime < time.time() - DAY:
                shutil.rmtree(path)
