"""One cell after the other in this process, each announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from perbench.contracts.base import NoKeys
from perbench.contracts.executor import Executor, Job, Work
from perbench.store.record import CellRecord


class Loud(Executor[NoKeys]):
    def execute(self, jobs: Sequence[Job], work: Work, say: Callable[[str], None]) -> Iterator[CellRecord]:
        for job in jobs:
            say(f"LOUD {job.name}")
            if (record := work(job)) is not None:
                yield record
