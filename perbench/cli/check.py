"""perbench check: test a plugin against its contract, without loading your models."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from typing import TYPE_CHECKING, Any

from perbench.plugins import KINDS, Plugin, get

if TYPE_CHECKING:
    from perbench.conformance.report import Report

SUMMARY = "test a plugin against its contract, in seconds, on tiny built-in examples"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("name", metavar="NAME", help="a name that `perbench ls` lists")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter or key to test it with; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from perbench.specs.yaml import parse_param

    params = dict(parse_param(text) for text in args.param)
    plugin = get(args.kind, args.name)
    report = _check(plugin, params)
    if args.json:
        findings = [vars(finding) for finding in report.findings]
        print(
            json.dumps({"kind": args.kind, "name": args.name, "ok": report.ok, "checks": findings}, indent=1)
        )
    else:
        print(f"{args.kind} {args.name}\n{plugin.path}")
        _print(report)
    return 0 if report.ok else 2


def _check(plugin: Plugin, params: dict[str, Any]) -> Report:
    """Check that the file is valid, and run `perbench.conformance.KIND.check` if it exists."""
    from perbench.cli.validate import check_plugin
    from perbench.conformance.report import Finding, Report
    from perbench.specs.compose import SPECS

    suite = f"perbench.conformance.{plugin.kind}"
    tried = importlib.util.find_spec(suite) is not None
    if plugin.kind in SPECS or not tried:
        check_plugin(plugin)
    if tried:
        found: Report = importlib.import_module(suite).check(plugin.load_class(), params)
        return found
    return Report(plugin, "", [Finding("valid", True, "the file, and what it names")])


def _print(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    from perbench.console.printing import console

    words = {True: Text("ok", "green"), False: Text("FAIL", "bold red"), None: Text("–")}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in report.findings:
        table.add_row(words[finding.ok], finding.name, finding.said)
    screen = console()
    with screen.capture() as held:
        screen.print(table)
    screen.file.writelines(f"{line.rstrip()}\n" for line in held.get().splitlines())
