"""perbench leaderboard: build pages from run directories, print its tables, or export the transfer table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

SUMMARY = "build the leaderboard's pages from run directories, print it, or export its table"
FORMATS = {
    "csv": "long form, numbers in full (transfer.csv)",
    "latex": "a table for a paper (transfer.tex)",
    "svg": "a figure of the gains (gains.svg)",
    "png": "the same figure (gains.png)",
    "eee": "Every Eval Ever, a file for each model (eee/)",
    "eval_results": "Hugging Face, a folder for each model's repository (eval_results/)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write pages, and every table as CSV and JSON")
    build.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder: new, empty, or an earlier build",
    )
    export = actions.add_parser("export", help="write the transfer table for a paper or a collection")
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where files are written")
    export.add_argument(
        "--format",
        dest="formats",
        action="append",
        required=True,
        choices=FORMATS,
        help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()) + "; may be repeated",
    )
    show = actions.add_parser("show", help="print the verdict and all tables of a run, or one section")
    written = "run directory that `perbench run` wrote"
    show.add_argument("shown", type=Path, metavar="RUN", help=written)
    show.add_argument("section", nargs="?", metavar="SECTION", help="such as transfer (default: all)")
    for action in (build, export):
        action.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=written)
    for action in (build, export, show):
        action.add_argument(
            "--baseline",
            metavar="TRAINER",
            help="trainer over which gains are measured (default: the matrix's baseline, else ce)",
        )
    build.add_argument("--json", action="store_true", help="print the path of the first page as JSON")
    show.add_argument("--json", action="store_true", help="print the verdict and the sections as JSON")
    export.add_argument("--json", action="store_true", help="print the files and what is left out as JSON")


def run(args: argparse.Namespace) -> int:
    if args.action == "show":
        return _show(args)
    damaged: list[str] = []
    if args.action == "build":
        from perbench.site import build

        page = build(args.runs, args.out, baseline=args.baseline, left_out=damaged.append)
        _print(args.json, {"page": str(page)}, damaged, [str(page)])
    else:
        from perbench.site.export import export

        left_out: list[str] = []
        found = export(
            args.runs,
            args.out,
            args.formats,
            baseline=args.baseline,
            left_out=left_out.append,
            damaged=damaged.append,
        )
        files = list(map(str, found))
        _print(args.json, {"files": files, "left_out": left_out}, damaged, files)
        for what in left_out:
            print(f"left out: {what}", file=sys.stderr)
    return _report(damaged)


def _show(args: argparse.Namespace) -> int:
    from perbench.console.printing import console
    from perbench.errors import PerbenchError, suggest
    from perbench.site.data import sections_of
    from perbench.site.load import load
    from perbench.site.terminal import print_view
    from perbench.site.view import build_view

    view = build_view(load([args.shown], args.baseline))
    sections = {section.name: section for section in view.sections}
    if args.section is not None and args.section not in sections:
        raise PerbenchError(
            f"{args.shown}: section {args.section!r} is empty or unknown; there are: {', '.join(sections)}."
            + suggest(args.section, sections)
        )
    if args.json:
        found = [one for one in sections_of(view) if args.section in (None, one["name"])]
        print(json.dumps({"verdict": view.verdict.lines, "sections": found}, ensure_ascii=False))
    else:
        print_view(view, console(), section=sections.get(args.section), minor=True)
    return 2 if view.damaged or view.broken else 0


def _print(as_json: bool, value: dict[str, Any], damaged: list[str], lines: list[str]) -> None:
    if as_json:
        print(json.dumps({**value, **({"damaged": damaged} if damaged else {})}))
    else:
        print(*lines, sep="\n", end="\n" if lines else "")


def _report(damaged: list[str]) -> int:
    """Report what is damaged; returns the exit code."""
    from perbench.progress import counted

    for damage in damaged:
        print(f"damaged, left out: {damage}", file=sys.stderr)
    if damaged:
        print(f"{counted(len(damaged), 'damaged part')} left out", file=sys.stderr)
    return 2 if damaged else 0
