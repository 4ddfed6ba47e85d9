"""The steps of a cell after planning: prepare, work, record."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from perbench import processes
from perbench.errors import NO_ROOM, PerbenchError, no_room
from perbench.lm.device import free
from perbench.lm.memory import reset_peak
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.engines import EnginePool
from perbench.matrix.prepare import EvaluationInput, Preparation, TrainingInput
from perbench.matrix.record import Attempt, now, record_of
from perbench.matrix.work import WorkResult, evaluate, train
from perbench.store import CellDir, CellRecord, LostLock, RunDir
from perbench.store.cell import CLOCK_SECONDS
from perbench.store.ledger import Ledger

if TYPE_CHECKING:
    from perbench.progress import Tick


class Worker:
    """Runs the cells of a plan in this process, one by one. The caller holds the run directory's lock. With
    torchrun only the main process works on cells; the others `follow`.

    Args:
        command: the command line, for records.
        say: shows a line to the user.
        track: names a tracker of trainings.
        cached: whether paid models answer repeated requests from the cache.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        run: RunDir,
        command: str,
        say: Callable[[str], None],
        *,
        track: str | None = None,
        cached: bool = True,
    ) -> None:
        self._catalogue, self._run, self._command = catalogue, run, command
        self._say, self._track = say, track
        self._pool = EnginePool(catalogue, cached=cached, say=say)
        self._preparation = Preparation(catalogue, self._pool)
        # peft's calls cause warnings that users cannot act on.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)

    def work(self, cell: Cell, tick: Tick) -> CellRecord | None:
        """The record of a cell, done or failed; None if its folder cannot be written, which is reported.

        Raises:
            PerbenchError: the disk is full, or the run directory's lock is lost. Finished cells and samples
                are kept.
        """
        folder = self._run.cell(cell.kind, cell.identity, self._say)

        def timed(done: int, total: int, figures: dict[str, float]) -> None:
            tick(done, total, figures)
            folder.save_clock(every=CLOCK_SECONDS)

        try:
            notes = folder.begin()
            reset_peak()
            attempt = Attempt(cell, folder, now(), Ledger(folder.ledger), notes)
            with self._pool.booking(attempt.ledger):
                record = self._finish(attempt, timed)
        except OSError as error:
            _stop_on_full_disk(error)
            if error.filename is None:
                raise
            self._say(
                f"NOT RECORDED {cell}: {error.filename}: {error.strerror}; delete the folder {folder.path} "
                "and run the same command again"
            )
            return None
        if record.error is not None:
            place = folder.path / "cell.json"
            self._say(f"FAILED {cell}: {record.error.message}\n  traceback: {place}")
            free()
        return record

    def follow(self, cells: Sequence[Cell]) -> None:
        """Take part in the main process's trainings; it does everything else alone."""
        for cell in cells:
            try:
                self._train(cell, self._run.cell(cell.kind, cell.identity), lambda *_: None)
            except processes.SharedFailure:
                free()

    def _finish(self, attempt: Attempt, tick: Tick) -> CellRecord:
        """Prepare, work, record."""
        cell, folder = attempt.cell, attempt.folder
        given: TrainingInput | EvaluationInput | None = None
        try:
            if cell.kind == "train":
                given, outcome = self._train(cell, folder, tick)
            else:
                given = self._preparation.evaluation(cell, self._run, folder)
                outcome = evaluate(cell, given, self._pool, folder, tick)
        except LostLock:
            raise
        except Exception as error:
            _stop_on_full_disk(error)
            record = self._record(attempt, given, error)
            folder.fail(record)
            if cell.kind == "train" and processes.group().world > 1:
                _stop_unless_shared(error)
            return record
        record = self._record(attempt, given, outcome)
        folder.finish(record)
        return record

    def _train(self, cell: Cell, folder: CellDir, tick: Tick) -> tuple[TrainingInput, WorkResult]:
        """On all processes of the run alike."""
        given = self._preparation.training(cell)
        with processes.group().agreed():
            model = self._catalogue.resolve(cell.model)
        outcome = train(cell, given, model, folder, tick, self._track)
        free()
        return given, outcome

    def _record(
        self,
        attempt: Attempt,
        given: TrainingInput | EvaluationInput | None,
        outcome: WorkResult | Exception,
    ) -> CellRecord:
        endpoints = attempt.ledger.totals(self._pool.price)
        return record_of(attempt, given, outcome, endpoints, self._command)


def _stop_unless_shared(error: Exception) -> None:
    """End this process: the others may be waiting for it inside the training."""
    if not isinstance(error, processes.SharedFailure):
        raise error


def _stop_on_full_disk(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        raise PerbenchError(f"{no_room(error)}; finished work is kept: run the same command again") from error
