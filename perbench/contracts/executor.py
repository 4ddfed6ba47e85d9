"""Where the workers of a run are started: one file `executors/NAME.py`.

A worker is a process that sees the run directory. It claims cells by leases, runs and records them, and ends
when nothing is left, so an executor passes nothing but a command line. Workers that die are started again.
"""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from perbench.contracts.base import K, Owner
from perbench.store.leases import born

HEAD = "PERBENCH_HEAD"
"""Variable of a worker: the process that started it, and when that was born. The worker ends with it."""
LOST = -int(signal.SIGKILL)
"""The exit status of a worker that ended with its machine, or for a reason unknown."""


@dataclass(frozen=True)
class WorkerStart:
    """A worker to start. `number` counts from 0, and stays the same when it is started again; `env` are
    variables to add; `gpus` is the number of devices that it needs for itself, None if that does not matter.
    Its output belongs into `log`."""

    number: int
    name: str
    command: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: int | None = None


class Running(ABC):
    """A worker that was started."""

    @abstractmethod
    def ended(self) -> int | None:
        """Its exit status, minus the signal that ended it, or LOST; None while it runs or waits to run."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it to end as by SIGTERM: it saves what it has. Does not wait."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""


class Executor(Owner[K]):
    """`Keys` say where cells are worked, not what: they are in no identity."""

    @property
    def workers(self) -> int:
        """How many to start unless `--workers` says so."""
        return 1

    def check(self, workers: int, gpus: int | None) -> None:
        """
        Raises:
            PerbenchError: it cannot start so many workers with `gpus` devices each.
        """

    @abstractmethod
    def start(self, worker: WorkerStart) -> Running:
        """Start a worker; called again if it dies. Does not wait for it."""

    def start_all(self, workers: Sequence[WorkerStart]) -> Sequence[Running]:
        """Start several workers at once, in order, as at the start of a run."""
        return [self.start(worker) for worker in workers]

    def close(self) -> None:
        """Called at the end of the run, when all workers have ended."""


class Child(Running):
    """A worker in a process of this machine. It has a session of its own: Ctrl-C reaches only the first
    process, which then stops its workers; they notice by themselves if it dies."""

    def __init__(self, worker: WorkerStart, env: Mapping[str, str] | None = None) -> None:
        head = {HEAD: f"{os.getpid()} {born(os.getpid()) or ''}"}
        # A link would lead to a file that is none of ours.
        descriptor = os.open(worker.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with open(descriptor, "ab") as log:
            self._process = subprocess.Popen(
                worker.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **head, **worker.env, **(env or {})},
                start_new_session=True,
            )

    def ended(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # the whole session: torchrun has children of its own
            os.killpg(self._process.pid, signum)
