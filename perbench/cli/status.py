"""perbench status: what runs where, and how much is left."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SUMMARY = "show what the workers of a run do now, and what is left"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="RUN", help="run directory of `perbench run`")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.console.printing import console
    from perbench.matrix.status import status_of
    from perbench.progress import counted, duration

    found = status_of(args.directory)
    if args.json:
        print(json.dumps(found.as_json(), ensure_ascii=False))
        return 0
    if found.running:
        from rich.table import Table

        table = Table()
        for head in ("worker", "process", "cell", "done"):
            table.add_column(head, overflow="fold")
        for one in found.running.values():
            part = f"{one.done:,}/{one.total:,}" if one.total else "starting"
            table.add_row(one.worker, str(one), one.what, part)
        console().print(table)
    time = "unknown" if found.seconds is None else f"about {duration(found.seconds)}"
    print(
        f"{counted(found.done, 'cell')} done, {found.failed:,} failed, {found.left:,} left, of which "
        f"{len(found.running):,} running; time left: {time if found.left else 'none'}"
    )
    return 0
