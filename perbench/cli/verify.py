"""perbench verify: check run directories for damage, and recompute their metrics."""

from __future__ import annotations

import argparse
import json
import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path

SUMMARY = "check run directories for damage and edits; recompute every metric from the samples"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run directory that `perbench run` wrote"
    )
    parser.add_argument("--json", action="store_true", help="print results as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.console.printing import say
    from perbench.matrix.verify import verify
    from perbench.progress import counted
    from perbench.store import RunDir

    faulty, found = 0, []
    for path in args.runs:
        metrics = 0
        of: Counter[str] = Counter()
        for checked in verify(RunDir(path)):
            found.append({"run": str(path), **asdict(checked)})
            of[checked.status] += 1
            metrics += checked.metrics
            faulty += bool(checked.faults)
            if not args.json:
                for fault in checked.faults:
                    print(f"FAULT {checked.name}: {fault}")
                for unchecked in checked.unchecked:
                    print(f"not checked, {checked.name}: {unchecked}")
        cells = counted(of.total() - of["not started"] - 1, "cell")
        equal = f"{counted(metrics, 'metric')} recomputed and equal" if metrics else "no metric recomputed"
        say(f"{path}: run.json and {cells} checked; {equal}")
        lacking = {"not finished": of["unfinished"] + of["not started"], "failed": of["failed"]}
        if any(lacking.values()):
            counts = ", ".join(f"{counted(n, 'cell')} {what}" for what, n in lacking.items() if n)
            say(f"{path}: {counts}; details: {shlex.join(['perbench', 'status', str(path)])}")
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    if faulty:
        say(f"{counted(faulty, 'fault')} found")
    return 2 if faulty else 0
