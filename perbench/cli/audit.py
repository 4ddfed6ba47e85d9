"""perbench audit: whether a task's answers need the persona, or follow from shortcuts and leaks."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from perbench.audit.leaks import Leak
    from perbench.audit.report import Audit
    from perbench.audit.shortcuts import Shortcut
    from perbench.shapes.base import Named
    from perbench.specs.matrix import MatrixSpec
    from perbench.store.record import Metric

SUMMARY = "whether a task needs the persona: shortcuts to its answers, and leaks of them"

PLACEHOLDER = "smollm2-135m"
"""A matrix names a model; this one is not read."""


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument("task", metavar="TASK", help="a task's name or YAML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="set a key, such as tasks.TASK.examples.test=null for all rows; may be repeated",
    )
    parser.add_argument(
        "--limit", type=options.positive, metavar="N", help="use at most N examples of every split"
    )
    options.add_data(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.audit.report import audit
    from perbench.console.printing import console
    from perbench.matrix.catalogue import Catalogue
    from perbench.matrix.session import check_families
    from perbench.specs.expand import every_task

    matrix = _matrix(args)
    catalogue = Catalogue(matrix.spec, dict(args.data), args.limit)
    (variant,) = every_task(matrix.spec)
    task = catalogue.task(variant)
    check_families([task], dict(args.data))
    found = audit(task.named, args.limit)
    if args.json:
        print(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
        return 0
    out = console()
    for part in _parts(found):
        if isinstance(part, str):
            print(part)
        else:
            out.print(part)
    return 0


def _matrix(args: argparse.Namespace) -> Named[MatrixSpec]:
    from perbench import plugins
    from perbench.specs.compose import owner_of
    from perbench.specs.load import load_task
    from perbench.specs.matrices import matrix_of
    from perbench.specs.yaml import COMMAND_LINE, Document, KeyPath, Place

    values = {"summary": f"audit of {args.task}", "models": [PLACEHOLDER], "targets": [args.task]}
    if owner_of(load_task(args.task).spec).cells == "identify":
        values["identifiers"] = plugins.names("identifier")[:1]
    places: dict[KeyPath, Place] = {(): COMMAND_LINE, ("targets",): Place(args.task)}
    return matrix_of("audit", None, Document(values, places), args.set)


# ---------------------------------------------------------------- tables


def _parts(found: Audit) -> Iterator[str | Table]:
    from perbench.progress import counted

    learnt = f", {counted(found.train, 'training example')}" if found.train else ", no training split"
    counts = f"{counted(found.examples, 'example')} of {counted(found.users, 'user')}{learnt}"
    yield f"{found.task} · {counts}"
    if found.lengths is not None:
        a = found.lengths
        middle = f"{a.tenth} to {a.ninetieth}" if a.tenth < a.ninetieth else f"{a.tenth}"
        yield f"answers: {found.answers}; {a.mean:.1f} words on average, 8 of 10 have {middle}"
    if found.shortcuts:
        yield ""
        yield _shortcuts(found)
    if found.held:
        yield ""
        yield _held(found.held)
    if found.leaks:
        yield ""
        yield _leaks(found.leaks)
    yield ""
    for line in found.findings or ["No shortcut and no leak found."]:
        yield f"- {line}"


def _table(*columns: str) -> Table:
    from rich.table import Table

    first, *numbers = columns
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _shortcuts(found: Audit) -> Table:
    if found.chance is not None:
        table = _table("picking", "accuracy", "95% interval")
        for rule in found.shortcuts:
            table.add_row(rule.what, *_shown(rule.metrics["accuracy"]))
        table.add_row("at random (chance)", f"{found.chance:.3f}", "")
        return table
    names = {"exact": "exact", "rouge1": "ROUGE-1", "rougeL": "ROUGE-L"}
    table = _table("copying", *names.values())
    for rule in found.shortcuts:
        table.add_row(rule.what, *(_shown(rule.metrics[name])[0] for name in names))
    return table


def _held(held: Sequence[Shortcut]) -> Table:
    table = _table("the answer's words of 4 letters or more that are", "share", "95% interval")
    for one in held:
        table.add_row(one.what, *_shown(one.metrics["share"]))
    return table


def _leaks(leaks: Sequence[Leak]) -> Table:
    table = _table("answers found elsewhere", "found", "of")
    for leak in leaks:
        what = leak.what if leak.name == "train_rows" else f"a near copy {leak.what}"
        table.add_row(what, f"{leak.count:,}", f"{leak.of:,}")
    return table


def _shown(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return "–", ""
    return f"{metric.value:.3f}", f"{metric.ci[0]:.3f} to {metric.ci[1]:.3f}" if metric.ci else "no interval"
