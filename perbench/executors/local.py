"""Runs one cell after another in this process; with torchrun, trainings use all its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from perbench.contracts.base import NoKeys
from perbench.contracts.executor import Executor, Job, Work
from perbench.store.record import CellRecord


class Local(Executor[NoKeys]):
    def execute(self, jobs: Sequence[Job], work: Work, say: Callable[[str], None]) -> Iterator[CellRecord]:
        for job in jobs:
            if (record := work(job)) is not None:
                yield record
