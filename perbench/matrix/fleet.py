"""The workers of a run as its first process sees them: started, watched, started again, stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perbench.contracts.executor import Executor, Running, WorkerStart
from perbench.errors import PerbenchError
from perbench.matrix.board import Board
from perbench.matrix.watch import Watch
from perbench.progress import Progress
from perbench.store import RunDir
from perbench.store.rundir import POLL

SETTLED = frozenset({0, 1, 2, 3})
"""Exit codes of a worker that would end in the same way again."""
MOST_RESTARTS = 8
"""Deaths in a row of a worker, without a cell finished by anyone in between, before it is given up."""
FIRST_WAIT = 1.0
"""Seconds before a worker is started again after its first death; doubled after each further one."""
LONGEST_WAIT = 60.0
GRACE = 30.0
"""Seconds that a worker has to end after being asked."""


@dataclass
class Slot:
    """A place in the fleet: the worker in it, and when to start the next one."""

    start: WorkerStart
    running: Running | None = None
    due: float = 0.0
    deaths: int = 0
    over: bool = False


class Fleet:
    """Runs the workers `starts` on the cells of `board` by an executor.

    Args:
        clock, sleep: of the times between restarts.
    """

    def __init__(
        self,
        executor: Executor[Any],
        starts: Sequence[WorkerStart],
        board: Board,
        run: RunDir,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._executor, self._board, self._progress = executor, board, progress
        self._watch = Watch(board, run, progress, lines=True)
        self._slots = [Slot(start) for start in starts]
        self._clock, self._sleep = clock, sleep

    def work(self) -> None:
        """Return when every cell is finished, or no worker can go on; no worker runs any longer then."""
        try:
            while not self._board.ended and self._tend():
                self._sleep(POLL)
                self._look()
            self._end(GRACE if self._board.ended else 0.0)
        finally:
            self._end(0.0)
            self._executor.close()
        self._look()

    def _tend(self) -> bool:
        """Start what is due; whether any worker runs or will."""
        for slot in self._slots:
            if slot.running is not None and (code := slot.running.ended()) is not None:
                slot.running = None
                self._after(slot, code)
        now = self._clock()
        due = [one for one in self._slots if one.running is None and not one.over and now >= one.due]
        started = self._executor.start_all([slot.start for slot in due]) if due else ()
        for slot, running in zip(due, started, strict=True):
            slot.running = running
        return not all(slot.over for slot in self._slots)

    def _after(self, slot: Slot, code: int) -> None:
        settled = self._settled(slot.start, code)
        slot.deaths += 1
        slot.over = settled or slot.deaths > MOST_RESTARTS
        if code == 0:
            return
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (slot.deaths - 1))
        slot.due = self._clock() + wait
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        then = "it is not started again" if slot.over else f"it is started again in {wait:g} s"
        last = last_line(slot.start.log)
        self._progress.say(f"worker {slot.start.name} ended {how}; {then}; {slot.start.log}{last}")

    def _settled(self, start: WorkerStart, code: int) -> bool:
        """Whether a worker that ended so is not started again. The launcher of several processes ends with 1
        whichever way they do, also if one was killed or lost its GPU."""
        if code == 1 and start.gpus is not None and start.gpus > 1:
            self._look()
            return self._board.ended
        return code in SETTLED

    def _look(self) -> None:
        """Show what has happened on disk."""
        if self._watch.look():
            for slot in self._slots:
                slot.deaths = 0

    def _end(self, grace: float) -> None:
        """Have all workers end: by themselves within `grace`, else as asked within GRACE, else at once."""
        for patience, last in ((grace, False), (GRACE, True)):
            until = self._clock() + patience
            while self._alive() and self._clock() < until:
                self._sleep(POLL)
            for running in self._alive():
                running.kill() if last else running.stop()
        for slot in self._slots:
            slot.running = None

    def _alive(self) -> list[Running]:
        found = [slot.running for slot in self._slots if slot.running is not None]
        return [running for running in found if running.ended() is None]


def last_line(log: Path) -> str:
    """ ": " and the last line of a log, "" if there is none."""
    try:
        lines = log.read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    found = [line.strip() for line in lines if line.strip()]
    return f": {found[-1]}" if found else ""


def starts_of(
    run: RunDir, plan: str, workers: int, gpus: int | None, env: dict[str, str]
) -> list[WorkerStart]:
    """The workers of a run, whose plan has this digest. Several GPUs per cell are as many processes, which
    train together."""
    path = run.path.absolute()
    launched = ("torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}", "-m")
    found = []
    for number in range(workers):
        name = f"w{number + 1}"
        module = ("-m", *(launched if gpus is not None and gpus > 1 else ()), "perbench")
        command = (sys.executable, *module, "work", str(path), "--name", name, "--plan", plan)
        found.append(WorkerStart(number, name, command, run.workers.absolute() / f"{name}.log", env, gpus))
    return found


def worker_env() -> dict[str, str]:
    """Variables that workers need as they are here, wherever they run; no keys."""
    kept = ("PERBENCH_CACHE", "PERBENCH_INCLUDE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")
    return {name: os.environ[name] for name in kept if name in os.environ}


def check_alone(world: int, asked: str) -> None:
    """
    Raises:
        PerbenchError: several processes were started together, and would each start workers.
    """
    if world > 1:
        raise PerbenchError(
            f"{asked} starts processes of its own, but torchrun or accelerate launch has started {world}; "
            "start perbench without it: `perbench run --workers N --gpus-per-cell G` trains each model on G "
            f"devices; or remove {asked}"
        )
