"""Carry out a plan: train what is missing, evaluate what is missing, record what fails, and go on."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perbench import processes
from perbench.errors import NO_ROOM, CellError, PerbenchError, no_room
from perbench.lm import models
from perbench.lm.context import context_in
from perbench.lm.device import free
from perbench.lm.memory import peak_mb, reset_peak
from perbench.matrix import overlaps
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.engines import EnginePool, PersonaModels
from perbench.matrix.left_out import SKIPPED, left_out
from perbench.matrix.plan import Plan
from perbench.matrix.summary import in_short
from perbench.matrix.users import train_users
from perbench.matrix.weights import USERS, serving_weights
from perbench.plugins.faults import fault_of
from perbench.progress import Progress
from perbench.specs.compose import engine_of, owner_of
from perbench.store import CellDir, CellRecord, Failure, LostLock, RunDir
from perbench.store.cell import CLOCK_LOST, CLOCK_SECONDS
from perbench.store.check import check_ids
from perbench.store.environment import capture, shorten
from perbench.store.ledger import Ledger, caveats

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.data import Dataset
    from perbench.persona.build import Built
    from perbench.progress import Tick
    from perbench.prompts.pair import PromptPair
    from perbench.shapes.base import Named
    from perbench.shapes.task import TaskSpec
    from perbench.training import FitResult


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass
class Runner:
    """Runs the cells of a plan one after the other. The caller holds the run directory's lock; of several
    processes only the main one does, executes and writes, and the others follow through its trainings."""

    catalogue: Catalogue
    run: RunDir
    command: str
    progress: Progress
    track: str | None = None
    cached: bool = True
    """Whether paid models answer from the cache what they were asked before."""

    def __post_init__(self) -> None:
        self.unrecorded = 0
        """Cells whose folder could not be written to."""
        self._pool = EnginePool(self.catalogue, cached=self.cached, say=self.progress.say)
        self._pairs: tuple[tuple[str, Named[TaskSpec]], list[PromptPair | None]] | None = None
        self._told: dict[str, list[str]] = {}
        self._built: dict[tuple[str, str], tuple[Dataset, dict[str, int]]] = {}

    def execute(self, plan: Plan) -> list[CellRecord]:
        """Run every cell that is to do, in the plan's order. A failure is recorded and stops nothing else.

        Raises:
            PerbenchError: the disk is full, or the run directory's lock is lost. Every finished cell and
                sample is kept.
        """
        records = []
        _quieten()
        for step in plan.todo:
            with self.progress.cell(str(step.cell)) as running:
                record = self._cell(step.cell, running)
                running.result = in_short(record) if record is not None else None
            if record is None:
                continue
            if record.error is not None:
                file = self.run.cell(record.kind, record.identity).path / "cell.json"
                self.progress.say(f"FAILED {step.cell}: {record.error.message}\n  traceback: {file}")
                free()
            records.append(record)
        return records

    def follow(self, cells: Sequence[Cell]) -> None:
        """Take part in the trainings that the main process executes; all else is its own."""
        _quieten()
        for cell in cells:
            try:
                self._fit(cell, self.run.cell(cell.kind, cell.identity), lambda *_: None)
            except processes.SharedFailure:
                free()

    def _cell(self, cell: Cell, tick: Tick) -> CellRecord | None:
        """The cell's record, None where it cannot be written."""
        folder = self.run.cell(cell.kind, cell.identity)
        started = now()

        def timed(done: int, total: int, figures: dict[str, float]) -> None:
            tick(done, total, figures)
            folder.save_clock(every=CLOCK_SECONDS)

        try:
            folder.begin()
            self._pool.ledger = Ledger(folder.ledger)
            reset_peak()
            try:
                found = self._work(cell, folder, timed)
            except LostLock:
                raise
            except Exception as error:
                _stop_on_full_disk(error)
                record = self._record(cell, folder, started, {"status": "failed", "error": _failure(error)})
                folder.fail(record)
                if cell.kind == "train" and processes.group().world > 1:
                    _stop_unless_shared(error)
                return record
            record = self._record(cell, folder, started, {"status": "done", **found})
            folder.finish(record)
        except OSError as error:
            _stop_on_full_disk(error)
            if error.filename is None:
                raise
            self._not_recorded(cell, folder, f"{error.filename}: {error.strerror}")
            return None
        finally:
            for remark in folder.remarks:
                self.progress.say(remark)
        return record

    def _not_recorded(self, cell: Cell, folder: CellDir, fault: str) -> None:
        way_out = f"Delete the folder {folder.path}, and run the same command again"
        self.progress.say(f"NOT RECORDED {cell}: {fault}. {way_out}")
        self.unrecorded += 1

    def _work(self, cell: Cell, folder: CellDir, tick: Tick) -> dict[str, Any]:
        if cell.kind == "train":
            return self._train(cell, folder, tick)
        return self._evaluate(cell, folder, tick)

    def _train(self, cell: Cell, folder: CellDir, tick: Tick) -> dict[str, Any]:
        self._pool.release_subject()
        result, counts, weights = self._fit(cell, folder, tick)
        free()
        counts["steps"] = result.steps
        found = {"counts": counts, "tokens": result.tokens, "training_log": result.log}
        notes = [*result.notes, *left_out(cell.labels.source, counts)]
        return {**found, "notes": notes, "weights": weights}

    def _fit(
        self, cell: Cell, folder: CellDir, tick: Tick
    ) -> tuple[FitResult, dict[str, int], dict[str, str]]:
        """Train; what the record counts; the seals of the weights, by the folder's name."""
        from perbench.training import fit
        from perbench.training.per_user import steps_of

        assert cell.trainer is not None
        assert cell.training is not None
        group = processes.group()
        with group.agreed():  # the main process alone, where models must be downloaded or asked
            made = self._inputs(cell) if group.main else None
        pairs, ids, counts = group.broadcast(made) or ([], [], {})
        with group.agreed():
            model = self.catalogue.resolve(cell.model)
        own = self.catalogue.own_data(cell.task, cell.training)
        later = steps_of(own.examples, cell.training.user_stage) if own is not None else 0
        result = fit(
            model,
            cell.trainer,
            pairs,
            ids,
            cell.training,
            seed=cell.labels.seed,
            folder=folder.checkpoint,
            tick=lambda done, total, figures: tick(done, total + later, figures),
            log=folder.log,
            track=self.track,
        )
        weights = {"final": result.seal}
        if own is not None:
            result, more, weights[USERS] = train_users(
                cell,
                model,
                own,
                lambda examples: self._build(cell, examples).examples,
                result,
                folder,
                tick,
            )
            counts = {**counts, **more}
        return result, counts, weights

    def _inputs(self, cell: Cell) -> tuple[list[PromptPair], list[str], dict[str, int]]:
        """What a cell trains on: prompt pairs, the ids of their examples, and what the record counts."""
        data, built = self._personas(cell)
        pairs = self._training_pairs(cell, self.catalogue.resolve(cell.model))
        named = [(pair, one.id) for pair, one in zip(pairs, data.examples, strict=True) if pair is not None]
        made = [pair for pair, _ in named]
        kept = {
            "persona_items_kept": sum(pair.kept for pair in made),
            "persona_items_trimmed": sum(pair.trimmed for pair in made),
        }
        if skipped := len(pairs) - len(made):
            kept[SKIPPED] = skipped
            if not made:
                raise PerbenchError(
                    f"{cell.labels.source}: all {skipped} training examples are too long and skipped "
                    "(on_too_long: skip); raise max_length, or use a model that reads more at once"
                )
        return made, [name for _, name in named], {"examples": len(made), **kept, **built}

    def _training_pairs(self, cell: Cell, model: models.ResolvedModel) -> list[PromptPair | None]:
        # Neighbouring cells differ in the trainer only; one entry is all that is ever used again.
        from perbench.prompts.pair import build_pairs

        key = (cell.model.name, cell.task)
        if self._pairs is None or self._pairs[0] != key:
            tokenizer = models.load_tokenizer(model.folder)
            examples = self._personas(cell)[0].examples
            context = context_in(model.folder)
            pairs = build_pairs(cell.task.spec, examples, tokenizer, with_response=True, context=context)
            self._pairs = key, pairs
        return self._pairs[1]

    def _personas(self, cell: Cell) -> tuple[Dataset, dict[str, int]]:
        """The cell's data with the personas that its task asks for, and what the record counts of them."""
        data = self.catalogue.dataset(cell.task, cell.split)
        if not cell.task.spec.persona.resolved:
            return data, {}
        key = (cell.labels.target or cell.labels.source or "", cell.split)
        if key not in self._built:
            found = self._build(cell, data.examples)
            self._built[key] = replace(data, examples=found.examples), found.counts
        return self._built[key]

    def _build(self, cell: Cell, examples: Sequence[Example]) -> Built:
        from perbench.persona.build import build_personas

        self._pool.release_subject()
        lent = PersonaModels(self.catalogue, self._pool.open)
        found = build_personas(cell.task.spec, examples, lent)
        free()
        return found

    def _evaluate(self, cell: Cell, folder: CellDir, tick: Tick) -> dict[str, Any]:
        checkpoint = users = None
        notes = []
        if cell.needs is not None:
            trained = self.run.cell("train", cell.needs.identity)
            record = trained.record()
            if record is None or record.status != "done":
                reason = (
                    record.error.message
                    if record is not None and record.error is not None
                    else "it did not run"
                )
                raise CellError(f"its training did not finish: {reason}")
            weights = serving_weights(cell, cell.needs, trained, record)
            checkpoint, users = weights.checkpoint, weights.users
            notes = left_out(cell.labels.source, record.counts)
        data, built = self._personas(cell)
        protocol = owner_of(cell.task.spec)
        dev = self.catalogue.dev(cell.task) if cell.identifier is not None else None
        ids = list(protocol.sample_ids(data, dev))
        folder.mend(ids)
        if cell.identifier is not None:
            engine = self._pool.serve(cell.model, None) if cell.identifier.needs_model else None
            dev = self.catalogue.dev(cell.task)
            tokens = protocol.identify(data, cell.identifier, engine, folder, planned=ids, dev=dev, tick=tick)
        else:
            self._pool.serve(cell.model, checkpoint, users)
            tokens = protocol.run(data, self._pool, folder, planned=ids, seed=cell.labels.seed, tick=tick)
        samples = folder.samples()
        check_ids(ids, [sample["id"] for sample in samples], folder.path)
        scored = protocol.score(samples)
        folder.write_scores(scored.scores)
        counts = {**scored.counts, **built}
        better = protocol.better(scored.metrics)
        found = {"metrics": scored.metrics, "better": better, "counts": counts, "tokens": tokens}
        return {**found, "notes": scored.notes, "run_notes": notes}

    def _chat_notes(self, cell: Cell) -> list[str]:
        """Notes on the chat template of the cell's model."""
        from perbench.prompts.chat import template_notes

        if not _renders(cell):
            return []
        if cell.model.name not in self._told:
            folder = self.catalogue.resolve(cell.model).folder
            self._told[cell.model.name] = template_notes(models.load_tokenizer(folder))
        return self._told[cell.model.name]

    def _record(self, cell: Cell, folder: CellDir, started: str, found: dict[str, Any]) -> CellRecord:
        data = self.catalogue.dataset(cell.task, cell.split)
        counts = {**found.pop("counts", {}), **{f"rows_skipped_{why}": n for why, n in data.skipped.items()}}
        if folder.torn:
            counts["torn_lines_cut"] = folder.torn
        if folder.dropped:
            counts["damaged_samples_dropped"] = folder.dropped
        assert self._pool.ledger is not None, "_cell opens it before anything else"
        endpoints = self._pool.ledger.totals(self._pool.price)
        counts |= overlaps.counts(cell, self.catalogue)
        seen = overlaps.overlap_notes(cell.labels, counts) if cell.kind != "train" else []
        own = [*found.pop("run_notes", []), *self._pool.ledger.notes()]
        own += [CLOCK_LOST] if folder.clock_lost else []
        if found["status"] == "done":
            own += self._chat_notes(cell)
        return CellRecord(
            endpoints=endpoints,
            notes=[*found.pop("notes", []), *seen, *caveats(endpoints), *own],
            run_notes=own,
            kind=cell.kind,
            identity=cell.identity,
            inputs=cell.inputs,
            labels=cell.labels,
            headline=cell.task.spec.headline if cell.kind != "train" else None,
            counts=counts,
            seconds=round(folder.seconds(), 3),
            peak_memory_mb=peak_mb(),
            started=started,
            finished=now(),
            environment={**capture(), "data": data.source, **_trained_how(cell)},
            command=self.command,
            trained_by=cell.needs.identity if cell.needs is not None else None,
            **found,
        )


def _renders(cell: Cell) -> bool:
    """Whether prompts of the cell's model are rendered in this process."""
    if "tokens" not in engine_of(cell.model).offers or (cell.identifier and not cell.identifier.needs_model):
        return False
    return owner_of(cell.task.spec).renders()


def _trained_how(cell: Cell) -> dict[str, Any]:
    """Machine-dependent settings of a training."""
    if cell.training is None:
        return {}
    from perbench.training.network import precision

    return {"precision": precision(cell.training), "processes": processes.group().world}


def _quieten() -> None:
    """Keep notices about peft's calls out of the progress."""
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)


def _failure(error: Exception) -> Failure:
    name = type(error).__name__
    text = "".join(traceback.format_exception(error))
    fault = None if isinstance(error, PerbenchError) else fault_of(error)
    message = fault.told(fault.place) if fault is not None else str(error) or name
    return Failure(type=name, message=shorten(message), traceback=shorten(text))


def _stop_unless_shared(error: Exception) -> None:
    """The other processes may wait for this one inside the training: only its end sets them free."""
    if not isinstance(error, processes.SharedFailure):
        raise error


def _stop_on_full_disk(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        raise PerbenchError(
            f"{no_room(error)}. Nothing finished is lost: run the same command again."
        ) from error
