"""perbench leaderboard: pages, tables and exports of results; publish and check them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

PUBLISHED = Path("leaderboard", "published")
SUMMARY = "build pages of results, print or export tables, publish and check result files"
FORMATS = {
    "csv": "long form, numbers in full (transfer.csv)",
    "latex": "a table for a paper (transfer.tex)",
    "svg": "a figure of the gains (gains.svg)",
    "png": "the same figure (gains.png)",
    "eee": "Every Eval Ever, a file for each model (eee/)",
    "eval_results": "Hugging Face, a folder for each model's repository (eval_results/)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

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
    written = "run directory, pack, published file, or folder of published files"
    show.add_argument("shown", type=Path, metavar="RUN", help=written)
    show.add_argument("section", nargs="?", metavar="SECTION", help="such as transfer (default: all)")
    add = actions.add_parser("add", help="publish the results of a run as reviewable files")
    add.add_argument("of", type=Path, metavar="RUN", help="run directory, or pack of one")
    add.add_argument(
        "--out", type=Path, default=PUBLISHED, metavar="FOLDER", help="where files are written (%(default)s)"
    )
    add.add_argument(
        "--samples",
        action="store_true",
        help="with all samples, if the task's license allows it, else with their digests",
    )
    check = actions.add_parser("check", help="refuse published files that no run could have written")
    check.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="published file, or folder of these"
    )
    serve = actions.add_parser("serve", help="show a built page, or runs, in a browser on this machine")
    serve.add_argument("shown", nargs="+", type=Path, metavar="DIR", help="folder of a built page, or RUN...")
    serve.add_argument("--port", type=int, default=0, help="default: a free one")
    for action in (build, export):
        action.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=written)
    for action in (build, export, show, serve):
        action.add_argument(
            "--baseline",
            metavar="TRAINER",
            help="trainer over which gains are measured (default: the matrix's baseline, else ce)",
        )
    build.add_argument(
        "--shade",
        type=options.positive,
        metavar="N",
        help="shade the personal tokens of N samples of each cell, by the untrained model",
    )
    for action in (build, serve):
        options.add_data(action)
    build.add_argument("--json", action="store_true", help="print the path of the first page as JSON")
    show.add_argument("--json", action="store_true", help="print the verdict and the sections as JSON")
    for action in (export, add):
        action.add_argument(
            "--json", action="store_true", help="print the files and what is left out as JSON"
        )
    check.add_argument("--json", action="store_true", help="print the faults as JSON")


def run(args: argparse.Namespace) -> int:
    own = {"show": _show, "add": _add, "check": _check, "serve": _serve}
    if args.action in own:
        return own[args.action](args)
    damaged: list[str] = []
    if args.action == "build":
        page = _build(args, args.runs, args.out, damaged)
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


def _build(args: argparse.Namespace, runs: Sequence[Path], out: Path, damaged: list[str]) -> Path:
    from perbench.matrix import options
    from perbench.matrix.reading import SampleReader
    from perbench.site import build
    from perbench.site.cells import SampleTexts

    reads, count = SampleReader(options.data_folders(args)), getattr(args, "shade", None)
    shades = None
    if count is not None:
        from perbench.matrix.shade import Shader

        shades = Shader(reads, lambda line: print(line, file=sys.stderr))
    texts = SampleTexts(reads, count or 0, shades)
    warn = partial(print, "perbench: warning:", file=sys.stderr)
    return build(runs, out, baseline=args.baseline, texts=texts, left_out=damaged.append, warn=warn)


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
            f"{args.shown}: section {args.section!r} is empty or unknown.{suggest(args.section, sections)}"
        )
    if args.json:
        found = [one for one in sections_of(view) if args.section in (None, one["name"])]
        print(json.dumps({"verdict": view.verdict.lines, "sections": found}, ensure_ascii=False))
    else:
        print_view(view, console(), section=sections.get(args.section), minor=True)
    return 2 if view.damaged or view.broken else 0


def _add(args: argparse.Namespace) -> int:
    from perbench.matrix.publish import publish
    from perbench.progress import counted

    added = publish(args.of, args.out, samples=args.samples)
    if args.json:
        files = {str(path): state for path, state in added.files.items()}
        left = {"left_out": added.left_out, "digests_only": added.digests_only}
        print(json.dumps({"files": files, **left}, ensure_ascii=False))
    else:
        for path, state in added.files.items():
            print(f"{state:9} {path}")
        print(f"{counted(len(added.files), 'file')}, with the ids of users", file=sys.stderr)
    for target, reason in sorted(added.digests_only.items()):
        print(f"samples of {target}: only their digests: {reason}", file=sys.stderr)
    for what in added.left_out:
        print(f"left out: {what}", file=sys.stderr)
    return 2 if added.left_out else 0


def _check(args: argparse.Namespace) -> int:
    from perbench.matrix.submission import check
    from perbench.progress import counted

    report = check(args.files)
    if args.json:
        found = [{"file": str(path), **fault._asdict()} for path, fault in report.faults]
        open_ = [
            {"target": target, "what": what, "cells": n} for (target, what), n in report.unchecked.items()
        ]
        print(json.dumps({"faults": found, "unchecked": open_}, ensure_ascii=False))
    else:
        for path, fault in report.faults:
            print(f"FAULT {path}: {fault}")
        for (target, what), number in report.unchecked.items():
            print(f"not checked, {counted(number, 'cell')} on {target}: {what}")
    print(
        f"{counted(report.files, 'file')} and {counted(report.cells, 'cell')} checked; "
        f"{counted(report.metrics, 'metric')} recomputed and equal; {counted(len(report.faults), 'fault')}",
        file=sys.stderr,
    )
    return 2 if report.faults else 0


def _serve(args: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from perbench.site.serve import SiteServer, is_site

    damaged: list[str] = []
    with TemporaryDirectory(prefix="perbench-site-") as made:
        folder = args.shown[0]
        if len(args.shown) > 1 or not is_site(folder):
            folder = Path(made, "site")
            _build(args, args.shown, folder, damaged)
            _report(damaged)
        with SiteServer(folder, args.port) as server:
            print(f"Open {server.url}", flush=True)
            print("Press Ctrl-C to stop.", file=sys.stderr)
            server.serve_forever()
    return 0


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
