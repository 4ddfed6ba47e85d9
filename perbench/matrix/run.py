"""The steps of a cell after planning: prepare, work, record."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from perbench import processes
from perbench.errors import NO_ROOM, CellError, PerbenchError, no_room
from perbench.lm.device import free
from perbench.lm.memory import reset_peak
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.engines import EnginePool
from perbench.matrix.faults import TRIES, fault_of_machine, wait_before
from perbench.matrix.prepare import EvaluationInput, Preparation, TrainingInput
from perbench.matrix.record import Attempt, now, record_of
from perbench.matrix.work import WorkResult, evaluate, train
from perbench.store import CellDir, CellRecord, LostLock, RunDir
from perbench.store.cell import CLOCK_SECONDS
from perbench.store.leases import Lease
from perbench.store.ledger import Ledger
from perbench.store.leftovers import inherit

if TYPE_CHECKING:
    from perbench.progress import Tick


class BrokenDevice(PerbenchError):
    """The device of this process no longer works; a new process may. The cell is left to it."""

    exit_code = os.EX_TEMPFAIL


class Worker:
    """Runs cells in this process, one by one, each of which the caller holds by a lease. With torchrun only
    the main process works on cells; the others `follow`.

    Args:
        command: the command line, for records.
        say: shows a line to the user.
        track: names a tracker of trainings.
        cached: whether paid models answer repeated requests from the cache.
        restarted: whether this process is started again if it ends: for a broken device it ends with
            BrokenDevice, and so it does where a cell makes no progress for `timeout` seconds.
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
        restarted: bool = False,
        timeout: float | None = None,
    ) -> None:
        self._catalogue, self._run, self._command = catalogue, run, command
        self._say, self._track = say, track
        self._restarted, self._timeout = restarted, timeout
        self._pool = EnginePool(catalogue, cached=cached, say=say)
        self._preparation = Preparation(catalogue, self._pool)
        # peft's calls cause warnings that users cannot act on.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)

    def work(self, cell: Cell, lease: Lease, every: float, tick: Tick) -> CellRecord | None:
        """The record of a cell, done or failed; None if its folder cannot be written, which is reported.

        Args:
            lease: renewed meanwhile, `every` so many seconds; the caller releases it.

        Raises:
            PerbenchError: the disk is full. Finished cells and samples are kept.
            LostLock: another worker has taken the cell over, or the lease was removed.
            BrokenDevice: see above.
        """
        folder = self._run.cell(cell.kind, cell.identity, self._say, lease)
        hang = Hang(self._timeout, lease)

        def timed(done: int, total: int, figures: dict[str, float]) -> None:
            hang.moved()
            lease.progress(done, total)
            tick(done, total, figures)
            folder.save_clock(every=CLOCK_SECONDS)

        try:
            inherit(folder.path, taken_over=lease.before is not None)
            notes = folder.begin()
            reset_peak()
            attempt = Attempt(cell, folder, now(), Ledger(folder.ledger), notes)
            with lease.beating(every, hang.watch), self._pool.booking(attempt.ledger):
                record = self._finish(attempt, lease, timed)
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

    def follow(self, cells: Mapping[str, Cell]) -> None:
        """Take part in the main process's trainings; it does everything else alone."""
        group = processes.group()
        while identity := group.broadcast(""):
            cell = cells[identity]
            try:
                self._train(cell, self._run.cell(cell.kind, cell.identity), lambda *_: None)
            except processes.SharedFailure:
                free()

    def _finish(self, attempt: Attempt, lease: Lease, tick: Tick) -> CellRecord:
        """Prepare, work, record."""
        cell, folder = attempt.cell, attempt.folder
        given: TrainingInput | EvaluationInput | None = None
        tries = 0
        while True:
            tries += 1
            try:
                if lease.before is not None and (why := lease.before.over) is not None:
                    raise CellError(why)
                if cell.kind == "train":
                    processes.group().broadcast(cell.identity)
                    given, outcome = self._train(cell, folder, tick)
                else:
                    given = self._preparation.evaluation(cell, self._run, folder)
                    outcome = evaluate(cell, given, self._pool, folder, tick)
            except LostLock:
                raise
            except Exception as error:
                _stop_on_full_disk(error)
                if self._again(cell, error, tries):
                    continue
                record = self._record(attempt, given, error)
                folder.fail(record)
                if cell.kind == "train" and processes.group().world > 1:
                    _stop_unless_shared(error)
                return record
            record = self._record(attempt, given, outcome)
            folder.finish(record)
            return record

    def _again(self, cell: Cell, error: Exception, tries: int) -> bool:
        """Whether to try a cell again in this process, after a wait: the fault may pass."""
        fault = fault_of_machine(error)
        if fault == "device" and self._restarted:
            raise BrokenDevice(
                f"{cell}: {error}; this process ends, and the cell runs in a new one"
            ) from error
        shared = cell.kind == "train" and processes.group().world > 1
        if fault is None or fault == "device" or shared or tries >= (2 if fault == "memory" else TRIES):
            return False
        if fault == "memory":
            self._pool.release()
        wait = wait_before(tries)
        self._say(f"{cell}: {type(error).__name__}: {error}; tried again in {wait:g} s")
        time.sleep(wait)
        return True

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


class Hang:
    """Ends this process if a cell makes no progress for `timeout` seconds: nothing else ends a call that
    never returns. The next worker records why."""

    def __init__(
        self, timeout: float | None, lease: Lease, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._timeout, self._lease, self._clock = timeout, lease, clock
        self.moved()

    def moved(self) -> None:
        self._last = self._clock()

    def watch(self) -> None:
        """Called by the thread of heartbeats."""
        if self._timeout is not None and self._clock() - self._last >= self._timeout:
            self._lease.hung(self._timeout)
            faulthandler.dump_traceback(sys.__stderr__ or 2)  # into the worker's log
            os._exit(BrokenDevice.exit_code)


def _stop_unless_shared(error: Exception) -> None:
    """End this process: the others may be waiting for it inside the training."""
    if not isinstance(error, processes.SharedFailure):
        raise error


def _stop_on_full_disk(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        raise PerbenchError(f"{no_room(error)}; finished work is kept: run the same command again") from error
