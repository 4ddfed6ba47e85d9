"""Executor: where the cells of a plan are worked. One file in `executors/`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from perbench.contracts.base import K, Owner
from perbench.store.cell import Kind
from perbench.store.record import CellRecord


@dataclass(frozen=True)
class Job:
    """A cell to work, in plain values: it can be pickled, and any process that sees the same files can work
    it."""

    run: str
    """The matrix, the options, the roots and the run directory, as JSON: equal for all jobs of a run."""
    kind: Kind
    identity: str
    name: str
    """The cell in words."""
    model: str
    """Jobs of one model, worked by one process, load it once."""
    needs: str | None = None
    """The identity of the training that must have ended before."""


Work = Callable[[Job], CellRecord | None]
"""Works a job and returns its record, done or failed; None where its folder cannot be written to, which is
reported. It can be pickled; in another process it plans the matrix anew, and refuses a job that it does not
find there. The caller holds the run directory's lock."""


class Executor(Owner[K]):
    """`Keys` say how it works, never what: they are in no identity."""

    @abstractmethod
    def execute(self, jobs: Sequence[Job], work: Work, say: Callable[[str], None]) -> Iterator[CellRecord]:
        """The records of the jobs as they end, in any order that respects `needs`. A failed cell is a record
        and stops no other; what `work` raises ends the run. `say` shows a line to people."""
