"""perbench eval: evaluate one model on one task; a matrix of one cell, or two with training."""

from __future__ import annotations

import argparse

SUMMARY = "evaluate one model on one task; --trainer and --source train it first"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument("--target", required=True, metavar="TASK", help="task to evaluate on")
    parser.add_argument(
        "--identifier", metavar="NAME", help="identifier, for a task of protocol identification"
    )
    options.add_training(parser, required=False)
    options.add_common(parser)
    options.add_track(parser)
    options.add_out(parser)
    options.add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    from perbench.matrix import options
    from perbench.matrix.session import carry_out

    matrix = options.one_cell(args, target=args.target, identifier=args.identifier)
    return carry_out(matrix, options.read(args, args.out, dry_run=args.dry_run))
