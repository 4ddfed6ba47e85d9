"""perbench data: fetch or build what metrics and tasks need beyond packages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SUMMARY = "prepare data that packages cannot carry"


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


def run(args: argparse.Namespace) -> int:
    from perbench.metrics import wordnet

    folder = wordnet.prepare(args.source)
    found = wordnet.load()
    if args.json:
        print(json.dumps({"folder": str(folder), "version": found.version, "sha256": found.digest}))
    else:
        print(f"WordNet {found.version} in {folder}")
    return 0
