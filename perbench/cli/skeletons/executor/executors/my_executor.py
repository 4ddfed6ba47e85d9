"""my_executor: describe in this line where it runs cells, for `perbench ls`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from perbench.contracts.base import NoKeys
from perbench.contracts.executor import Executor, Job, Work
from perbench.store.record import CellRecord


class MyExecutor(Executor[NoKeys]):
    """One cell after another in another process, which gets nothing but the job; it plans the matrix once."""

    def execute(self, jobs: Sequence[Job], work: Work, say: Callable[[str], None]) -> Iterator[CellRecord]:
        spawn = multiprocessing.get_context("spawn")  # a forked process could not use the accelerator
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            for job in jobs:
                say(job.name)
                record = pool.submit(work, job).result()
                if record is not None:
                    yield record
