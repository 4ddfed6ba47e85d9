"""What every worker does: claim a cell, run and record it, until all are finished."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perbench import processes
from perbench.console.printing import say
from perbench.contracts.executor import HEAD
from perbench.errors import PerbenchError
from perbench.matrix.board import Board, Claim
from perbench.matrix.brief import Brief, read_brief
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.run import BrokenDevice, Worker
from perbench.matrix.summary import in_short
from perbench.matrix.watch import Watch
from perbench.progress import Progress, counted
from perbench.store import DamagedRecord, LostLock, RunDir
from perbench.store.leases import born
from perbench.store.rundir import POLL, cells_of

if TYPE_CHECKING:
    from perbench.store import CellRecord


LOOK = 2.0
"""Seconds between looks at what others do."""


class Member:
    """Works the cells of a board in this process.

    Args:
        watch: shows what others do meanwhile.
    """

    def __init__(
        self, board: Board, worker: Worker, progress: Progress, watch: Callable[[str], object]
    ) -> None:
        self._board, self._worker, self._progress, self._watch = board, worker, progress, watch
        self._looked = -math.inf
        self.failed = 0
        """Cells that failed here."""

    def work(self) -> None:
        """Return when every cell is finished, by whichever worker, or cannot be written here.

        Raises: as `Worker.work`, except for cells that another worker took over.
        """
        waiting = False
        while not self._board.ended:
            self._look()
            if (claim := self._board.claim()) is not None:
                waiting = False
                self._work(claim)
                continue
            holders = self._board.others()
            if holders and not waiting:
                waiting = True
                names = ", ".join(f"{holder.worker} ({holder})" for holder in holders)
                self._progress.say(f"waiting for {counted(len(holders), 'cell')} of other workers: {names}")
            if not self._board.ended:
                time.sleep(POLL)

    def _work(self, claim: Claim) -> None:
        cell, lease, left = claim.cell, claim.lease, True
        try:
            with self._progress.cell(str(cell)) as running:

                def tick(done: int, total: int, figures: dict[str, float]) -> None:
                    running(done, total, figures)
                    self._look(lease.holder.token)

                record = self._worker.work(cell, lease, self._board.leases.every, tick)
                running.ends(in_short(record) if record is not None else None)
            self._count(claim, record)
        except BrokenDevice:
            left = False  # whoever takes the cell over counts this as a death
            raise
        except LostLock as lost:
            if not lost.taken:
                raise
            self._progress.say(f"{cell}: {lost}; it is left to that worker")
        finally:
            lease.release() if left else lease.abandon()

    def _look(self, own: str = "") -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._watch(own)

    def _count(self, claim: Claim, record: CellRecord | None) -> None:
        if record is None:
            self._board.refuse(claim.cell)
        else:
            self._board.finished(claim.cell, mine=True)
            self.failed += record.error is not None


def join(path: Path, name: str | None = None, plan: str | None = None) -> int:
    """Work on the latest plan of a run directory until it is finished; returns the exit code.

    Args:
        plan: the digest of a plan that may be carried out as it is (`Brief.allow`).

    Raises:
        PerbenchError: there is no plan, it is not allowed, this process plans other cells, or as
            `Worker.work`.
    """
    if not path.is_dir():
        cells_of(path)  # which says what it is
    run = RunDir(path.absolute())
    brief = read_brief(run)
    if brief.allow(path, plan):
        _enter(brief.folder)
    end_with_head()
    group = processes.group()
    try:
        catalogue, cells = brief.cells()
    except PerbenchError as error:
        if Path(brief.folder) == Path.cwd():
            raise
        raise PerbenchError(f"{error}\nThe run was started in {brief.folder}; do so here, too") from error
    if not group.main:
        _worker(brief, catalogue, run, say).follow({cell.identity: cell for cell in cells})
        code = group.broadcast(0)
        processes.close()
        return code
    host, process = socket.gethostname(), os.getpid()
    who = f"worker {name} (process {process} on {host})" if name else f"worker {host}:{process}"
    name = name or f"{host}:{process}"
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    say(f"{who}{f', with GPU {gpus}' if gpus else ''}")
    failed, left = _work(brief, catalogue, cells, run, name)
    # A worker that the first process started is started anew for what a selection leads to.
    while not left and HEAD not in os.environ and (following := brief.following(catalogue, run)) is not None:
        brief = following
        catalogue, cells = brief.cells()
        more, left = _work(brief, catalogue, cells, run, name)
        failed += more
    group.broadcast("")
    code = group.broadcast(2 if left else 1 if failed else 0)
    say(f"{path}: {'some cells could not be written' if left else 'nothing is left to do'}")
    processes.close()
    return code


def _worker(brief: Brief, catalogue: Catalogue, run: RunDir, say: Callable[[str], None]) -> Worker:
    return Worker(
        catalogue,
        run,
        brief.command,
        say,
        track=brief.track,
        cached=brief.cached,
        restarted=HEAD in os.environ,
        timeout=brief.cell_timeout,
    )


def _work(
    brief: Brief, catalogue: Catalogue, cells: Sequence[Cell], run: RunDir, name: str
) -> tuple[int, bool]:
    """Work on the cells of a plan until all are finished: how many failed here, and whether some could not be
    written."""
    progress = counting(len({*_planned(run, brief.name), *brief.todo}), len(cells))
    board = Board(cells, run, run.leases(name, expiry=brief.expiry), brief.again)
    watch = Watch(board, run, progress, lines=False)
    member = Member(board, _worker(brief, catalogue, run, progress.say), progress, watch.look)
    with progress.shown():
        watch.look()
        progress.begin()
        member.work()
    return member.failed, bool(board.unfinished)


def counting(planned: int, todo: int) -> Progress:
    """Progress over all cells of a plan, of which `todo` are left, so that run, work and status agree."""
    progress = Progress(planned)
    for _ in range(planned - todo):
        progress.finished("", None)
    return progress


def _planned(run: RunDir, matrix: str) -> Sequence[str]:
    """The identities of a matrix's latest cells; none if run.json is damaged, which `run` reports."""
    try:
        plans: Mapping[str, Sequence[str]] = run.description().get("plans", {})
    except DamagedRecord:
        return ()
    return plans.get(matrix, ())


def _enter(folder: str) -> None:
    """Have relative paths begin there."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise PerbenchError(
            f"{folder}, from which the run was started, is not here ({error.strerror}): workers need the "
            "same files under the same paths"
        ) from None


def end_with_head(every: float = 2.0, end: Callable[[], None] | None = None) -> None:
    """If this process was started by another one that is to be outlived by nobody (HEAD), end as by SIGTERM
    soon after that one has died."""
    if HEAD not in os.environ:
        return
    head, _, birth = os.environ[HEAD].partition(" ")

    def watch() -> None:
        while born(int(head)) == birth:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGTERM) if end is None else end()

    if birth and born(int(head)) is not None:  # else it cannot be seen
        threading.Thread(target=watch, name="head", daemon=True).start()
