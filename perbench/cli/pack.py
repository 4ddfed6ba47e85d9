"""perbench pack: one file from which a colleague reads a run, and repeats it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perbench.pack.write import Written

SUMMARY = "pack a run into one file that others can read and repeat"
DESCRIPTION = """\
Pack a run into one file that others can read and repeat. It holds records, scores and samples; the files of
plugins that are not part of perbench; tasks, models and matrices, as written and as resolved; the digests of
the data and the commands that get them; package versions; and the commands that ran. Texts whose licence
forbids sharing are left out: their samples are packed as digests. Base models are never packed. The run
directory is not changed.

  perbench leaderboard build PACK --out site    the same pages as from the run directory
  perbench run --from PACK --out DIR            unpack, reuse finished cells, run what is missing
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("packed", type=Path, metavar="RUN", help="run directory that `perbench run` wrote")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write (default: the name of RUN with .pack.zip)"
    )
    parser.add_argument(
        "--weights",
        action="store_true",
        help="also pack trained weights; without them, whoever runs more evaluations trains again",
    )
    parser.add_argument("--json", action="store_true", help="print what was packed as JSON")


def run(args: argparse.Namespace) -> int:
    from zipfile import is_zipfile

    from perbench.errors import PerbenchError
    from perbench.pack.write import write_pack

    out = args.out if args.out is not None else Path(f"{args.packed.resolve().name}.pack.zip")
    if out.is_dir() or not out.parent.is_dir():
        raise PerbenchError(f"--out {out}: name a file in a folder that exists")
    if out.exists() and not is_zipfile(out):
        raise PerbenchError(f"--out {out}: not a pack, so it is not overwritten; name another file")
    written = write_pack(args.packed, out, weights=args.weights)
    if args.json:
        manifest = written.manifest.model_dump(mode="json")
        print(json.dumps({"pack": str(out), **manifest, "members": written.members}, ensure_ascii=False))
    else:
        print(out)
    _say(written)
    return 0


def _say(written: Written) -> None:
    """What is in the pack that its author should know of, on stderr."""
    from perbench.progress import counted
    from perbench.store.pack import PLUGIN_PART

    manifest, size = written.manifest, written.path.stat().st_size
    lines = [f"{counted(len(written.members), 'file')}, {size / 1e6:,.1f} MB"]
    lines += [
        f"packed {one.kind} {one.name}: {one.file}, sha256 {one.sha256[:12]}…"
        for one in manifest.plugins
        if one.file is not None and one.file.startswith(PLUGIN_PART)
    ]
    lines += [
        f"samples of {one.task} as digests only, in {counted(one.cells, 'cell')}: {one.why}"
        for one in manifest.withheld
    ]
    print(*lines, *manifest.notes, sep="\n", file=sys.stderr)
