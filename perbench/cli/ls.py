"""perbench ls: list available plugins and specs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from perbench import plugins

SUMMARY = "list everything there is, or all of one kind"

PLURALS = {name: kind.plural for name, kind in plugins.KINDS.items()}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kinds", nargs="?", choices=PLURALS.values(), metavar="KIND", help=", ".join(PLURALS.values())
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of kind, name, summary, path")


def run(args: argparse.Namespace) -> int:
    found = [p for p in plugins.discover().values() if args.kinds in (None, PLURALS[p.kind])]
    for problem in plugins.root_problems():
        print(f"perbench: warning: {problem}", file=sys.stderr)
    if args.json:
        rows = [{"kind": p.kind, "name": p.name, "summary": p.summary, "path": str(p.path)} for p in found]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    names: dict[tuple[str, Path], list[str]] = {}
    for plugin in found:  # a file may hold several, such as rouge1 and rouge2
        names.setdefault((plugin.kind, plugin.path), []).append(plugin.name)
    lines = {(p.kind, ", ".join(names[p.kind, p.path])): p.summary for p in found}
    width = max((len(name) for _, name in lines), default=0)
    for kind, plural in PLURALS.items():
        rows_of_kind = {name: summary for (of, name), summary in lines.items() if of == kind}
        if not rows_of_kind and args.kinds != plural:
            continue
        print(plural if rows_of_kind else f"{plural}: none")
        for name, summary in rows_of_kind.items():
            print(f"  {name:{width}}  {summary}".rstrip())
    return 0
