"""perbench verify: check run directories for damage, and recompute their metrics."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

SUMMARY = "check run directories for damage and edits; recompute every metric from the samples"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run directory that `perbench run` wrote"
    )
    parser.add_argument("--json", action="store_true", help="print results as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.matrix.verify import verify
    from perbench.progress import counted
    from perbench.store import RunDir

    faulty, found = 0, []
    for path in args.runs:
        cells = 0
        metrics = 0
        for checked in verify(RunDir(path)):
            found.append({"run": str(path), **asdict(checked)})
            cells += 1
            metrics += checked.metrics
            faulty += bool(checked.faults)
            if not args.json:
                for fault in checked.faults:
                    print(f"FAULT {checked.name}: {fault}")
                for unchecked in checked.unchecked:
                    print(f"not checked, {checked.name}: {unchecked}")
        print(
            f"{path}: run.json and {counted(cells - 1, 'cell')} checked; "
            f"{counted(metrics, 'metric')} recomputed and equal",
            file=sys.stderr,
        )
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    if faulty:
        print(f"{counted(faulty, 'fault')} found", file=sys.stderr)
    return 2 if faulty else 0
