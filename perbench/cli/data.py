"""perbench data: fetch, build and describe what metrics and tasks need beyond packages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SUMMARY = "prepare data that packages cannot carry; describe annotated data"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    families = actions.add_parser("prepare", help="put data into the user cache").add_subparsers(
        dest="family", required=True, metavar="FAMILY"
    )
    wordnet = families.add_parser("wordnet", help="WordNet, which the METEOR metric needs")
    wordnet.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="folder or zip file of WordNet (default: NLTK's data, Debian's packages, NLTK's downloader)",
    )
    wordnet.add_argument("--json", action="store_true", help="print the folder and its digest as JSON")

    describe = actions.add_parser("describe", help="counts, shares and agreement of a task's gold spans")
    describe.add_argument("task", metavar="TASK", help="a task of protocol identification")
    describe.add_argument("--json", action="store_true", help="print the numbers as JSON, unrounded")


def run(args: argparse.Namespace) -> int:
    return _describe(args) if args.action == "describe" else _prepare(args)


def _describe(args: argparse.Namespace) -> int:
    from perbench.data import agreement, spans
    from perbench.errors import PerbenchError
    from perbench.specs.load import load_task

    task = load_task(args.task)
    if task.spec.protocol != "identification":
        raise PerbenchError(
            f"task {task.name} is of protocol {task.spec.protocol} and has no gold spans; "
            f"perbench show task {task.name} prints its spec"
        )
    splits = spans.check(task)
    found = agreement.describe_splits(splits, spans.names_of(task.spec))
    print(json.dumps(found, ensure_ascii=False) if args.json else agreement.table(found))
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from perbench.metrics import wordnet

    folder = wordnet.prepare(args.source)
    found = wordnet.load()
    if args.json:
        print(json.dumps({"folder": str(folder), "version": found.version, "sha256": found.digest}))
    else:
        print(f"WordNet {found.version} in {folder}")
    return 0
