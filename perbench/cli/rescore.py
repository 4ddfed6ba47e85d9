"""perbench rescore: recompute metrics of finished cells from their stored samples."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SUMMARY = "recompute metrics and scores from stored samples; nothing is generated"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run directory that `perbench run` wrote"
    )
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="fail instead of waiting when another process uses a run directory",
    )
    parser.add_argument("--json", action="store_true", help="print what changed as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.console.printing import say
    from perbench.matrix.cells import describe
    from perbench.matrix.rescore import rescore
    from perbench.store import DamagedRecord, RunDir
    from perbench.store.rundir import cells_of

    found = []
    damaged: list[DamagedRecord] = []
    for path in args.runs:
        cells_of(path)  # raises unless it is a run directory, before a lock would create one
        directory = RunDir(path)
        with directory.lock(wait=not args.no_wait, notify=say):
            for old, new in rescore(directory, say, damaged):
                changed = sorted(
                    name
                    for name in old.metrics.keys() | new.metrics.keys()
                    if old.metrics.get(name) != new.metrics.get(name)
                )
                found.append({"run": str(path), "identity": new.identity, "changed": changed})
                if not args.json:
                    print(f"{describe(new.kind, new.labels)}: {', '.join(changed) or 'nothing'} changed")
    if args.json:
        print(json.dumps(found))
    return 2 if damaged else 0
