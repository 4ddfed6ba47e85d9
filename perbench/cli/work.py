"""perbench work: join a run from any process that sees its directory."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "join a run that is in progress, from any machine that sees its directory"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="RUN", help="run directory of `perbench run`")
    parser.add_argument("--name", metavar="NAME", help="how others see this worker (default: HOST:PROCESS)")
    parser.add_argument(
        "--plan",
        metavar="DIGEST",
        help="the run's plan, as `perbench run` names it: allows the files and programs that it names",
    )


def run(args: argparse.Namespace) -> int:
    from perbench.matrix.crew import join

    return join(args.directory, args.name, args.plan)
