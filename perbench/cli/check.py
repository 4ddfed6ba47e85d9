"""perbench check: the contract of a trainer or identifier, before any model is loaded."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perbench.conformance.report import Report

SUMMARY = "test a trainer or identifier against its contract, on a tiny built-in batch and without a model"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("trainer", "identifier"), metavar="KIND", help="trainer, identifier")
    parser.add_argument("name", metavar="NAME", help="a name that `perbench ls` lists")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter to test it with; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from perbench import plugins
    from perbench.specs.yaml import parse_param

    params = dict(parse_param(text) for text in args.param)
    plugin = plugins.get(args.kind, args.name)
    report = _check(args.kind, plugin.load_class(), params)
    if args.json:
        findings = [vars(finding) for finding in report.findings]
        print(
            json.dumps({"kind": args.kind, "name": args.name, "ok": report.ok, "checks": findings}, indent=1)
        )
    else:
        print(f"{args.kind} {args.name}\n{plugin.path}")
        _print(report)
    return 0 if report.ok else 2


def _check(kind: str, cls: Any, params: dict[str, Any]) -> Report:
    if kind == "trainer":
        from perbench.conformance.trainer import check_trainer

        return check_trainer(cls, params)
    from perbench.conformance.identifier import check_identifier

    return check_identifier(cls, params)


def _print(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    from perbench.console.printing import console

    words = {True: Text("ok", "green"), False: Text("FAIL", "bold red"), None: Text("–")}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in report.findings:
        table.add_row(words[finding.ok], finding.name, finding.said)
    console().print(table)
