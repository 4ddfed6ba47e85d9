"""perbench run: a matrix of models, trainers, sources and targets."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "run or resume a matrix; finished cells are reused"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument("--matrix", required=True, metavar="NAME|FILE", help="name or YAML file of a matrix")
    options.add_common(parser)
    options.add_track(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="run directory (default: runs/MATRIX; with --limit, runs/MATRIX-limitN)",
    )
    options.add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    from perbench.matrix import options
    from perbench.matrix.session import carry_out
    from perbench.specs.matrices import load_matrix

    matrix = load_matrix(args.matrix, args.set)
    tail = f"-limit{args.limit}" if args.limit is not None else ""
    out = args.out if args.out is not None else Path("runs", f"{matrix.name}{tail}")
    return carry_out(matrix, options.read(args, out, dry_run=args.dry_run))
