"""Where the cells of a plan are executed: one file `executors/NAME.py`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from perbench.contracts.base import K, Owner
from perbench.store.cell import Kind
from perbench.store.record import CellRecord


@dataclass(frozen=True)
class Job:
    """A cell to execute, as plain values: picklable, and executable by any process that sees the same
    files."""

    run: str
    """The matrix, options, roots and run directory as JSON; equal for all jobs of a run."""
    kind: Kind
    identity: str
    name: str
    """The cell in words."""
    model: str
    """Jobs of one model load it once if executed by one process."""
    needs: str | None = None
    """The identity of the training that must be finished first."""


Work = Callable[[Job], CellRecord | None]
"""Executes a job and returns its record, done or failed; None if its folder cannot be written, which is
reported. Picklable; in another process it plans the matrix again, and refuses a job that is not in the plan.
The caller holds the run directory's lock."""


class Executor(Owner[K]):
    """`Keys` say how cells are executed, not what: they are in no identity."""

    @abstractmethod
    def execute(self, jobs: Sequence[Job], work: Work, say: Callable[[str], None]) -> Iterator[CellRecord]:
        """The records of the jobs as they finish, in any order that respects `needs`. A failed cell is a
        record and does not stop others; exceptions of `work` end the run. `say` shows a line to the user."""
