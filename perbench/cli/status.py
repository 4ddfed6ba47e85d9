"""perbench status: what runs where, and how much is left."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perbench.matrix.status import Status

MOST = 10
"""Failed cells that are listed."""
SUMMARY = "show what the workers of a run do now, and what is left"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="RUN", help="run directory of `perbench run`")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.console.printing import console
    from perbench.matrix.status import status_of
    from perbench.progress import counted
    from perbench.site.format import natural

    found = status_of(args.directory)
    if args.json:
        print(json.dumps(found.as_json(), ensure_ascii=False))
        return 0
    if found.running:
        from rich.table import Table

        table = Table()
        for head in ("worker", "process", "cell", "progress"):
            table.add_column(head, overflow="fold")
        for one in sorted(found.running.values(), key=lambda holder: natural(holder.worker)):
            part = f"{one.done:,}/{one.total:,}" if one.total else "starting"
            table.add_row(one.worker, str(one), one.what, part)
        console().print(table)
    for name, message in [*found.failed.items()][:MOST]:
        print(f"FAILED {args.directory / 'cells' / name}: {message}")
    if len(found.failed) > MOST:
        print(f"and {len(found.failed) - MOST:,} more that failed")
    for name in found.damaged:
        print(f"damaged: {args.directory / 'cells' / name}; it runs again")
    if found.done and not (found.left or found.failed or found.running):
        then = shlex.join(["perbench", "leaderboard", "show", str(args.directory)])
        print(f"all done: {counted(found.done, 'cell')}{f'; next: {then}' if found.evaluated else ''}")
        return 0
    print(
        f"{counted(found.done, 'cell')} done, {len(found.failed):,} failed, {found.left:,} left, of which "
        f"{len(found.running):,} running{_outlook(found)}"
    )
    return 0


def _outlook(found: Status) -> str:
    from perbench.progress import duration

    if found.running:
        return f"; time left: {'unknown' if found.seconds is None else f'about {duration(found.seconds)}'}"
    if (found.left or found.failed) and found.command is not None:
        return f"; to go on: {found.command}"
    return ""
