"""perbench train: train one model on one task with one trainer; a matrix of one cell."""

from __future__ import annotations

import argparse

SUMMARY = "train one model on one task (a matrix of one cell)"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    options.add_training(parser, required=True)
    options.add_common(parser)
    options.add_track(parser)
    options.add_out(parser)
    options.add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    from perbench.matrix import options
    from perbench.matrix.session import carry_out

    matrix = options.one_cell(args)
    read = options.read(args, args.out, dry_run=args.dry_run, train_only=True)
    return carry_out(matrix, read, then=_evaluation(args))


def _evaluation(args: argparse.Namespace) -> list[str]:
    """The command that evaluates the trained model on its own task."""
    folders = [word for folder in args.include for word in ("--include", folder)]
    same = [word for word in args.parser_in_use.words if word != "--json"]
    return ["perbench", *folders, "eval", *same, "--target", args.source]
