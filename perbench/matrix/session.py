"""One `perbench run`: plan, carry out, show. `run`, `train` and `eval` all come here."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.errors import PerbenchError, suggest
from perbench.matrix.cells import Catalogue, Cell, expand
from perbench.matrix.estimate import Estimate, Estimator
from perbench.matrix.plan import Plan, make_plan
from perbench.matrix.run import Runner, now
from perbench.matrix.summary import as_json
from perbench.progress import Progress, duration
from perbench.specs.load import Named
from perbench.specs.matrix import MatrixSpec
from perbench.specs.rows import task_variants
from perbench.store import CellRecord, RunDir
from perbench.store.environment import shorten
from perbench.training.watch import check_tracker

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Options:
    """How a matrix is run; `train_only` leaves out what would be evaluated; `track` names a tracker."""

    out: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    limit: int | None = None
    dry_run: bool = False
    wait: bool = True
    json: bool = False
    train_only: bool = False
    track: str | None = None


def carry_out(
    matrix: Named[MatrixSpec],
    options: Options,
    *,
    show: Callable[[Sequence[CellRecord], Options], None] | None = None,
) -> int:
    """Run (or only plan) a matrix. Results go to stdout, all else to stderr; `show` prints them, the
    headlines' tables (or JSON) by default.

    Returns: the exit code, 0 when every cell is done, 1 when some failed.

    Raises:
        PerbenchError: a spec, data or store error, before any cell runs; a full disk.
    """
    _check_families(matrix.spec, options.data)
    check_tracker(options.track)
    catalogue = Catalogue(matrix.spec, options.data, options.limit)
    cells = expand(matrix.spec, catalogue)
    if options.train_only:
        cells = [cell for cell in cells if cell.kind == "train"]
    run = RunDir(options.out)
    if options.dry_run:
        _show_plan(make_plan(cells, run), Estimator(catalogue, options.out), as_json=options.json)
        return 0
    with run.lock(wait=options.wait, notify=_say):
        plan = make_plan(cells, run)
        command = _command()
        spec = matrix.spec.model_dump(mode="json", by_alias=True)
        planned = [cell.identity for cell in cells]
        run.describe(matrix=matrix.name, spec=spec, command=command, started=now(), cells=planned)
        counts = plan.counts()
        _say(
            f"{options.out}: {counts['reuse']} cells reused; to do: {counts['train']} train, "
            f"{counts['eval']} evaluate, {counts['identify']} identify"
        )
        _relabel(plan, run)
        progress = Progress(len(plan.todo))
        with progress.shown():
            Runner(catalogue, run, command, progress, options.track).execute(plan)
        records = _records(cells, run)
    (show or _show_results)(records, options)
    return _tell_failures(records, options)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _command() -> str:
    return shorten(shlex.join(["perbench", *sys.argv[1:]]))


def _check_families(spec: MatrixSpec, data: Mapping[str, Path]) -> None:
    rows = task_variants([*spec.sources, *spec.targets])
    families = {row.task.partition("/")[0] for row in rows}
    for family in data:
        if family not in families:
            raise PerbenchError(
                f"--data {family}=…: the matrix has no task of this family.{suggest(family, families)}"
            )


def _relabel(plan: Plan, run: RunDir) -> None:
    """What is reused goes by the names that today's matrix gives it: names are no part of an identity."""
    for step in plan.steps:
        folder = run.cell(step.cell.kind, step.cell.identity)
        record = folder.record() if step.action == "reuse" else None
        if record is not None and record.labels != step.cell.labels:
            folder.finish(record.model_copy(update={"labels": step.cell.labels}))


def _records(cells: list[Cell], run: RunDir) -> list[CellRecord]:
    found = [run.cell(cell.kind, cell.identity).record() for cell in cells]
    return [record for record in found if record is not None]


def _show_results(records: Sequence[CellRecord], options: Options) -> None:
    from perbench.site.terminal import print_results

    if options.json:
        print(json.dumps(as_json(records, str(options.out)), ensure_ascii=False))
    elif any(record.kind != "train" for record in records):
        print_results([options.out])


def _tell_failures(records: Sequence[CellRecord], options: Options) -> int:
    failed = [record for record in records if record.error is not None]
    for record in failed:
        assert record.error is not None
        file = RunDir(options.out).cell(record.kind, record.identity).path / "cell.json"
        _say(f"FAILED {record.error.type}: {record.error.message}\n  traceback: {file}")
    if failed:
        _say(f"{len(failed)} of {len(records)} cells failed. The same command tries them again.")
    return 1 if failed else 0


# ---------------------------------------------------------------- --dry-run


def _show_plan(plan: Plan, estimator: Estimator, *, as_json: bool) -> None:
    estimates = [estimator(step.cell) if step.action != "reuse" else None for step in plan.steps]
    todo = [estimate for estimate in estimates if estimate is not None]
    total = {
        **plan.counts(),
        "tokens": sum(estimate.tokens for estimate in todo),
        "tokens_exact": all(estimate.exact for estimate in todo),
        "seconds": _total_seconds(todo),
    }
    if as_json:
        print(json.dumps({"cells": _plan_json(plan, estimates), "total": total}, ensure_ascii=False))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(_plan_table(plan, estimates))
    seconds = total["seconds"]
    print(
        f"{total['train']} to train, {total['eval']} to evaluate, {total['identify']} to identify, "
        f"{total['reuse']} reused; {'' if total['tokens_exact'] else 'about '}{total['tokens']:,} tokens; "
        f"time: {'unknown, no past record of the kind' if seconds is None else 'about ' + duration(seconds)}"
    )


def _total_seconds(todo: list[Estimate]) -> float | None:
    known = [estimate.seconds for estimate in todo if estimate.seconds is not None]
    return sum(known) if len(known) == len(todo) else None


def _plan_json(plan: Plan, estimates: list[Estimate | None]) -> list[dict[str, Any]]:
    return [
        {
            "kind": step.cell.kind,
            "identity": step.cell.identity,
            "labels": step.cell.labels.model_dump(mode="json"),
            "action": step.action,
            "reason": step.reason,
            "tokens": estimate.tokens if estimate else 0,
            "tokens_exact": estimate.exact if estimate else True,
            "seconds": estimate.seconds if estimate else 0.0,
        }
        for step, estimate in zip(plan.steps, estimates, strict=True)
    ]


def _plan_table(plan: Plan, estimates: list[Estimate | None]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for head in ("cell", "action", "why"):
        table.add_column(head, overflow="fold")
    table.add_column("tokens", justify="right")
    table.add_column("time", justify="right")
    for step, estimate in zip(plan.steps, estimates, strict=True):
        tokens = seconds = ""
        if estimate is not None:
            tokens = f"{'' if estimate.exact else '~'}{estimate.tokens:,}"
            seconds = "unknown" if estimate.seconds is None else f"~{duration(estimate.seconds)}"
        table.add_row(escape(str(step.cell)), step.action, escape(step.reason), tokens, seconds)
    return table
