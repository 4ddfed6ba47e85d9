"""Runs a matrix for `run`, `train` and `eval`: plan, execute, show."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from perbench import plugins, processes
from perbench.console.printing import say
from perbench.console.signals import Interrupted, as_interrupted
from perbench.contracts.executor import Executor
from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError, suggest
from perbench.matrix import overlaps
from perbench.matrix.absent import absent
from perbench.matrix.board import Board
from perbench.matrix.brief import Brief, brief_of
from perbench.matrix.catalogue import Catalogue, LabelledTask
from perbench.matrix.cells import Cell
from perbench.matrix.crew import Member, counting
from perbench.matrix.dry_run import show_plan
from perbench.matrix.estimate import Estimator
from perbench.matrix.fleet import Fleet, check_alone, starts_of, worker_env
from perbench.matrix.memory import memory_lines
from perbench.matrix.offers import mixed_engines
from perbench.matrix.options import Options
from perbench.matrix.plan import Plan, make_plan
from perbench.matrix.record import now
from perbench.matrix.run import Worker
from perbench.matrix.select import reported
from perbench.matrix.stages import Stage, first_stage
from perbench.matrix.summary import as_json, spent
from perbench.matrix.watch import Watch
from perbench.plugins import family_name
from perbench.progress import counted
from perbench.shapes.base import Named
from perbench.specs.compose import family_in, helpers_of, persona_helpers
from perbench.specs.expand import every_task
from perbench.specs.load import family_of
from perbench.specs.matrix import MatrixSpec
from perbench.store import CellRecord, DamagedRecord, RunDir
from perbench.store.environment import shorten
from perbench.store.leftovers import sweep_old
from perbench.training.watch import check_tracker


def carry_out(
    matrix: Named[MatrixSpec],
    options: Options,
    *,
    show: Callable[[Sequence[CellRecord], Options, str], None] | None = None,
    planned: Callable[[Sequence[Cell]], None] = lambda cells: None,
    then: Sequence[str] = (),
) -> int:
    """Run (or only plan) a matrix. Results go to stdout, everything else to stderr; `show` prints them, given
    the matrix's name, too: by default the tables of headlines, or JSON. `planned` is called with all cells
    before any runs. `then` is the command to suggest if
    nothing was evaluated.

    Returns: the exit code, 0 if every cell is done, 1 if some failed; for a dry run, 2 if a run would refuse
    to start.

    Raises:
        PerbenchError: a spec, data or store error, before any cell runs; a full disk.
    """
    check_tracker(options.track)
    executor = _executor(options)
    if options.dry_run and not options.json and processes.group().main:
        for line in memory_lines(matrix.spec, options.devices, options.device_memory):
            print(line, flush=True)
    catalogue = Catalogue(matrix.spec, options.data, options.limit, draft=options.dry_run)
    check_families([*map(catalogue.task, every_task(matrix.spec))], options.data)
    run, group = RunDir(options.out), processes.group()
    stage = first_stage(matrix.spec, catalogue, run)
    cells = stage.cells
    if options.train_only:
        cells = [cell for cell in cells if cell.kind == "train"]
    planned(cells)
    possible = [*cells, *stage.later]
    seen = overlaps.refused(possible)
    rows = {
        (cell.labels.target or "", cell.model.name): cell.model for cell in possible if cell.kind != "train"
    }
    served = [(target, model) for (target, _), model in rows.items()]
    for line in [*overlaps.accepted(possible), *mixed_engines(served)] if group.main else ():
        say(line)
    if options.dry_run:
        return _show_plan(stage, cells, catalogue, run, seen, options)
    if seen:
        raise PerbenchError("\n".join(seen))
    if not group.main:
        return _follow(cells, catalogue, run)
    sweep_old([cache_dir(), *cache_dir().glob("*/"), *cache_dir().glob("*/*/")])
    started, due, said = now(), dict[str, None](), set[str]()
    while True:
        for line in reported(stage.choices, said):
            say(line)
        plan, brief, reused = _begin(matrix, stage, cells, catalogue, run, options, started, due)
        due |= dict.fromkeys(brief.todo)
        left = _execute(plan, brief, catalogue, run, executor, options)
        following = stage.next(catalogue, run)
        if following is None or left:
            break
        stage = following
        cells = stage.cells
    group.broadcast("")
    records = reused if len(reused) == len(cells) else _records(cells, run)
    for line in spent([record for record in records if record.identity in due]):
        say(line)
    (show or _show_results)(records, options, matrix.name)
    if any(record.kind != "train" for record in records):
        then = ["perbench", "leaderboard", "build", str(options.out), "--out", "site"]
    if then and any(record.error is None for record in records):
        say(f"next: {shlex.join(then)}")
    if left:
        say(f"{counted(left, 'cell')} left; run the same command to resume")
    code = group.broadcast(max(_tell_failures(records), 2 if left else 0))
    processes.close()
    return code


def _show_plan(
    stage: Stage,
    cells: Sequence[Cell],
    catalogue: Catalogue,
    run: RunDir,
    seen: Sequence[str],
    options: Options,
) -> int:
    """Do a dry run and return its exit code."""
    refused = dict.fromkeys(seen)
    missing: dict[str, None] = {}
    if processes.group().main:
        plan = make_plan(cells, run)
        _say_damaged(plan)
        estimator = Estimator(catalogue, options.out, plan.past)
        show_plan(plan, estimator, len(stage.later), as_json=options.json, verbose=options.verbose)
        missing = dict.fromkeys([*catalogue.unresolved.lines(), *_absent(plan, stage.later, catalogue)])
        _say_blocked(missing, refused)
    processes.close()
    return 2 if missing or refused else 0


def _say_blocked(missing: Collection[str], refused: Collection[str]) -> None:
    """What a run would refuse to start with: last, where it does not scroll away."""
    sys.stdout.flush()
    for line in missing:
        say(f"missing: {line}")
    for line in refused:
        say(f"refused: {line}")
    counts = {"missing": len(missing), "refused": len(refused)}
    if any(counts.values()):
        parts = (f"{counted(count, 'thing')} {what}" for what, count in counts.items() if count)
        say(f"not runnable: {', '.join(parts)}")


def _executor(options: Options) -> Executor[Any] | None:
    """What starts the workers; None if this process works alone.

    Raises:
        PerbenchError: there is no such executor, or it cannot start so many workers.
    """
    kind = plugins.get("executor", options.executor).load_class()
    if options.fleet is None:
        if options.gpus is not None or options.executor_set:
            option = "--gpus-per-cell" if options.gpus is not None else "--executor-set"
            raise PerbenchError(f"{option} is for workers in processes of their own: add --workers N")
        return None
    check_alone(processes.group().world, options.fleet)
    try:
        executor: Executor[Any] = kind(kind.Keys.model_validate(options.executor_set))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        hint = suggest(key, kind.Keys.model_fields) if fault["type"] == "extra_forbidden" else ""
        raise PerbenchError(f"--executor-set {key}: {fault['msg']}.{hint}") from None
    if not options.dry_run:
        executor.check(options.workers or executor.workers, options.gpus)
    return executor


def _begin(
    matrix: Named[MatrixSpec],
    stage: Stage,
    cells: Sequence[Cell],
    catalogue: Catalogue,
    run: RunDir,
    options: Options,
    started: str,
    tried: Collection[str],
) -> tuple[Plan, Brief, list[CellRecord]]:
    """The plan, what workers are to do, after recording both in the run directory, and the reused records.
    `tried`: cells that an earlier stage of this run has worked.

    Raises:
        PerbenchError: this machine lacks what the plan needs; or other processes work on its cells, and the
            options say not to wait.
    """
    with run.lock(wait=options.wait, notify=say):
        plan = make_plan(cells, run)
        _say_damaged(plan)
        if missing := _absent(plan, stage.later, catalogue):
            raise PerbenchError("\n".join(missing))
        run.describe(
            matrix=matrix.name,
            spec=matrix.spec.model_dump(mode="json", by_alias=True),
            command=_command(),
            started=started,
            cells={cell.identity: cell.labels for cell in cells},
            choices=stage.choices,
            notify=say,
        )
        leases = run.leases()
        plan = plan.without(tried)
        todo = [step.cell for step in plan.todo]
        brief = brief_of(
            matrix,
            options,
            _command(),
            todo,
            run,
            started=started,
            expiry=leases.expiry,
            chosen=stage.chosen,
        )
        if not options.wait and (others := Board(todo, run, leases, brief.again).others()):
            raise PerbenchError(
                f"{run.path} is in use by {others[0]}, which works on {others[0].what}; wait for it, or omit "
                "--no-wait to do so"
            )
        brief.write(run)
        counts = plan.counts()
        say(
            f"{options.out}: {counted(counts['reuse'], 'cell')} reused; to do: {counts['train']} train, "
            f"{counts['eval']} evaluate, {counts['identify']} identify"
        )
        _say_rescore(plan, options.out)
        reused = _relabel(plan, run)
    return plan, brief, reused


def _execute(
    plan: Plan,
    brief: Brief,
    catalogue: Catalogue,
    run: RunDir,
    executor: Executor[Any] | None,
    options: Options,
) -> int:
    """Work the plan's cells, here or by workers; returns the number of those that could not be recorded.

    Raises:
        Interrupted: with what is kept; and as `Worker.work`.
    """
    todo = [step.cell for step in plan.todo]
    progress = counting(len(plan.steps), len(todo))
    board = Board(todo, run, run.leases("" if executor is None else "head"), brief.again)
    try:
        with progress.shown():
            progress.begin()
            if executor is None:
                track, cached = options.track, options.cached
                worker = Worker(catalogue, run, _command(), progress.say, track=track, cached=cached)
                Member(board, worker, progress, Watch(board, run, progress, lines=True).look).work()
            elif todo:
                progress.say(f"others may join: {brief.join_command(options.out)}")
                count = options.workers or executor.workers
                starts = starts_of(run, brief.digest, count, options.gpus, worker_env())
                Fleet(executor, starts, board, run, progress).work()
    except KeyboardInterrupt as error:
        stopped = as_interrupted(error)
        kept = make_plan([step.cell for step in plan.steps], run).kept(run)
        raise Interrupted(f"{stopped.message}. {kept}", stopped.signum) from None
    return len(board.unfinished)


def _follow(cells: Sequence[Cell], catalogue: Catalogue, run: RunDir) -> int:
    """The part of a process other than the main one; returns the main one's exit code."""
    group = processes.group()
    Worker(catalogue, run, _command(), say).follow({cell.identity: cell for cell in cells})
    code = group.broadcast(0)
    processes.close()
    return code


def _command() -> str:
    return shorten(shlex.join(["perbench", *sys.argv[1:]]))


def _absent(plan: Plan, later: Sequence[Cell], catalogue: Catalogue) -> list[str]:
    """What this machine lacks for the plan's work, and for what may follow."""
    due = [*(step.cell for step in plan.todo), *later]
    distinct = {(cell.kind, id(cell.task), id(cell.model)): cell for cell in due}
    models = [cell.model for cell in distinct.values()]
    for cell in distinct.values():
        spec = cell.task.spec
        helpers = persona_helpers(spec.persona) if cell.kind == "train" else helpers_of(spec)
        models += map(catalogue.model, sorted(helpers))
    references = {cell.trainer.reference() for cell in due if cell.trainer is not None}
    named = [name for name in references if name is not None and name != "initial"]
    models += [catalogue.model(name) for name in sorted(named)]
    return absent([cell.task.spec for cell in distinct.values()], models)


def check_families(tasks: Sequence[LabelledTask], data: Mapping[str, Path]) -> None:
    """Raises PerbenchError: `data` names a family of which the tasks have none."""
    families = {family_of(one.named.name, family_in(one.named.spec.data)) for one in tasks}
    for family in data:
        if family_name(family) not in families:
            raise PerbenchError(
                f"--data {family}=…: the matrix has no task of this family.{suggest(family, families)}"
            )


def _relabel(plan: Plan, run: RunDir) -> list[CellRecord]:
    """The reused records, updated to the names in the current matrix (names are not part of identities), and
    with counts that are not part of identities either: overlaps, and those of rows."""
    found = []
    for step in plan.steps:
        if (record := step.record) is None:
            continue
        labels = step.cell.labels
        counts = {**record.counts, **overlaps.counts(step.cell), **step.cell.data.counts}
        if record.labels != labels or record.counts != counts:
            before = overlaps.overlap_notes(record.labels, record.counts)
            notes = [note for note in record.notes if note not in before]
            notes += overlaps.overlap_notes(labels, counts)
            record = record.model_copy(update={"labels": labels, "counts": counts, "notes": notes})
            run.cell(step.cell.kind, step.cell.identity).relabel(record)
        found.append(record)
    return found


def _records(cells: list[Cell], run: RunDir) -> list[CellRecord]:
    found = []
    for cell in cells:
        try:
            found.append(run.cell(cell.kind, cell.identity).record())
        except DamagedRecord:
            continue  # it could not be written, as reported
    return [record for record in found if record is not None]


def _say_damaged(plan: Plan) -> None:
    """Report every damaged record, and what happens to it."""
    redone = [step.damage for step in plan.todo]
    for damage in plan.damaged:
        end = "its cell runs again" if damage in redone else "not in this plan, so not changed"
        say(f"damaged: {damage.what}; {end}")


def _say_rescore(plan: Plan, out: Path) -> None:
    """Report reused cells whose scores are not those that their tasks ask for now."""
    for differs, count in Counter(step.rescore for step in plan.steps if step.rescore).items():
        say(
            f"{counted(count, 'reused cell')}: {differs}; `perbench rescore {out}` computes what can be "
            "computed from the stored samples"
        )


def _show_results(records: Sequence[CellRecord], options: Options, matrix: str) -> None:
    from perbench.site.data import read_results
    from perbench.site.finished import print_finished

    evaluated = any(record.kind != "train" for record in records)
    if options.json:
        results = read_results(options.out, matrix, records) if evaluated else {"verdict": [], "sections": []}
        print(json.dumps({**as_json(records, str(options.out)), **results}, ensure_ascii=False))
    elif evaluated:
        print_finished(options.out, matrix, records)


def _tell_failures(records: Sequence[CellRecord]) -> int:
    """Report the number of failed cells, each reported by `Worker.work`; returns the exit code."""
    failed = sum(record.error is not None for record in records)
    if failed:
        say(f"{failed} of {counted(len(records), 'cell')} failed; run the same command to retry them")
    return 1 if failed else 0
