"""perbench audit: whether a task's answers need the persona, or follow from shortcuts and leaks."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from perbench.audit.leaks import Leak
    from perbench.audit.report import Audit
    from perbench.audit.shortcuts import Shortcut
    from perbench.matrix.options import Options
    from perbench.shapes.base import Named
    from perbench.shapes.task import TaskSpec
    from perbench.specs.matrix import MatrixSpec
    from perbench.store.record import CellRecord, Metric

SUMMARY = "whether a task needs the persona: shortcuts to its answers, and leaks of them"

PLACEHOLDER = "smollm2-135m"
"""A matrix names a model; this one is not read."""
SECTION = "audit"
"""The section of the results that holds the model's part."""


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument("task", metavar="TASK", help="a task's name or YAML file")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="also run this model with the user's own persona, without one, and with another user's",
    )
    options.add_common(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="with --model: run directory (default: runs/audit-TASK)"
    )
    options.add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    from perbench.audit.report import audit
    from perbench.errors import PerbenchError
    from perbench.matrix import options
    from perbench.matrix.catalogue import Catalogue
    from perbench.matrix.session import carry_out, check_families
    from perbench.specs.expand import every_task
    from perbench.specs.rows import plain_name

    if args.model is None and (args.out is not None or args.dry_run):
        raise PerbenchError("--out and --dry-run are for a run of a model: add --model, or remove them")
    matrix = _matrix(args)
    catalogue = Catalogue(matrix.spec, dict(args.data), args.limit)
    tasks = [*map(catalogue.task, every_task(matrix.spec))]
    check_families(tasks, dict(args.data))
    found = audit(tasks[0].named, args.limit)
    if args.model is None:
        _print(found, as_json=args.json)
        return 0
    out = args.out if args.out is not None else Path("runs", f"audit-{plain_name(args.task)}")
    return carry_out(matrix, options.read(args, out, dry_run=args.dry_run), show=partial(_show, found))


def _matrix(args: argparse.Namespace) -> Named[MatrixSpec]:
    from perbench import plugins
    from perbench.matrix import options
    from perbench.specs.compose import owner_of
    from perbench.specs.load import load_task
    from perbench.specs.matrices import matrix_of
    from perbench.specs.yaml import COMMAND_LINE, Document, KeyPath, Place, flag

    task = load_task(args.task)
    values: dict[str, Any] = {
        "summary": f"audit of {task.name}",
        "models": [args.model or PLACEHOLDER],
        "targets": [args.task] if args.model is None else [_row(args.task, task)],
    }
    if args.model is None and owner_of(task.spec).cells == "identify":
        values["identifiers"] = plugins.names("identifier")[:1]
    places: dict[KeyPath, Place] = {
        (): COMMAND_LINE,
        ("models",): flag("model", args.model),
        ("targets",): Place(args.task),
    }
    return matrix_of("audit", None, Document(values, places), options.sets_of(args))


def _row(name: str, task: Named[TaskSpec]) -> dict[str, Any]:
    """The target under whichever personas its protocol does not compare by itself.

    Raises:
        PerbenchError: its prompts hold no persona that could be replaced.
    """
    from perbench.contracts.protocol import Beside
    from perbench.errors import PerbenchError
    from perbench.specs.compose import owner_of, protocols

    owner = owner_of(task.spec)
    cls, headline = type(owner), task.spec.headline
    row: dict[str, Any] = {"task": name}
    if owner.audited_as is not None:
        cls = protocols()[owner.audited_as]
        row["protocol"], headline = owner.audited_as, cls.headline or headline
    if not cls.prompted or cls.cells != "eval":
        raise PerbenchError(
            f"task {task.name}: under protocol {task.spec.protocol} no other persona can take the place of "
            "the user's own in prompts; audit it without --model"
        )
    known = cls.beside.get(headline, Beside())
    whose = [
        "own",
        *([] if known.none or known.over_none else ["none"]),
        *([] if known.over_other else ["other"]),
    ]
    return {**row, "persona.whose": whose} if len(whose) > 1 else row


# ---------------------------------------------------------------- results


def _show(found: Audit, records: Sequence[CellRecord], options: Options, matrix: str) -> None:
    from perbench.console.printing import console
    from perbench.site.data import sections_of
    from perbench.site.load import load
    from perbench.site.terminal import print_view
    from perbench.site.view import build_view

    view = build_view(load([options.out], matrix=matrix, known=records))
    if options.json:
        section = next((one for one in sections_of(view) if one["name"] == SECTION), None)
        print(json.dumps({**found.as_json(), "out": str(options.out), "model": section}, ensure_ascii=False))
        return
    _print(found)
    for shown in view.sections:
        if shown.name == SECTION:
            print()
            print_view(view, console(), section=shown)
            for line in shown.verdict:
                print(f"- {line}")


def _print(found: Audit, *, as_json: bool = False) -> None:
    from perbench.console.printing import console

    if as_json:
        print(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
        return
    out = console()
    for part in _parts(found):
        if isinstance(part, str):
            print(part)
        else:
            out.print(part)


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
    if any(one.metrics["share"].n for one in found.held):
        yield ""
        yield _held(found.held)
    if leaks := [leak for leak in found.leaks if leak.of]:
        yield ""
        yield _leaks(leaks)
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
    from perbench.site.format import between, number

    if metric.value is None:
        return "–", ""
    return number(metric.value, 3), between(metric.ci, 3) if metric.ci else "no interval"
