"""perbench run: a matrix of models, trainers, sources and targets, or one from a pack."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "run or resume a matrix; finished cells are reused"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument("--matrix", metavar="NAME|FILE", help="name or YAML file of a matrix")
    parser.add_argument(
        "--from",
        dest="pack",
        type=Path,
        metavar="PACK",
        help="repeat a run from the file of `perbench pack`: unpack it into --out (default: runs/NAME of the "
        "packed run), reuse its cells, and run what is missing; plugins in it are run only with --include; "
        "--matrix chooses among several matrices",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="apply a profile of the matrix (default: the first that it lists)"
    )
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
    from perbench.errors import PerbenchError
    from perbench.matrix import options
    from perbench.matrix.session import carry_out
    from perbench.specs.matrices import load_matrix

    if args.pack is not None:
        from perbench.pack.repeat import repeat
        from perbench.store.pack import Pack

        if args.profile is not None:
            raise PerbenchError(
                "--profile is for a matrix that is not in a pack; --matrix names one of the pack's"
            )
        pack = Pack(args.pack)
        out = args.out if args.out is not None else Path("runs", pack.manifest.run)
        return repeat(pack, args.matrix, options.sets_of(args), options.read(args, out, dry_run=args.dry_run))
    if args.matrix is None:
        raise PerbenchError("name a matrix by --matrix, or a pack by --from")
    matrix = load_matrix(args.matrix, options.sets_of(args), args.profile)
    tail = f"-limit{args.limit}" if args.limit is not None else ""
    out = args.out if args.out is not None else Path("runs", f"{matrix.name}{tail}")
    return carry_out(matrix, options.read(args, out, dry_run=args.dry_run))
