"""perbench leaderboard: run directories -> a page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

SUMMARY = "build the leaderboard page from run directories"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write one self-contained HTML page")
    build.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run directory that `perbench run` wrote"
    )
    build.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder: new, empty, or an earlier page"
    )
    build.add_argument(
        "--baseline",
        metavar="TRAINER",
        help="trainer over which gains are measured (default: the matrix's baseline, else ce)",
    )
    build.add_argument("--json", action="store_true", help="print the page's path as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.progress import counted
    from perbench.site import build

    damaged: list[str] = []
    page = build(args.runs, args.out, baseline=args.baseline, left_out=damaged.append)
    print(json.dumps({"page": str(page), **({"damaged": damaged} if damaged else {})}) if args.json else page)
    for damage in damaged:
        print(f"damaged, left out: {damage}", file=sys.stderr)
    if damaged:
        print(f"{counted(len(damaged), 'damaged part')} left out of the page", file=sys.stderr)
    return 2 if damaged else 0
