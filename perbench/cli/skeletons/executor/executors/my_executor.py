"""my_executor: describe in this line where it runs workers, for `perbench ls`."""

from __future__ import annotations

from dataclasses import replace

from perbench.contracts.base import NoKeys
from perbench.contracts.executor import Child, Executor, Running, WorkerStart


class MyExecutor(Executor[NoKeys]):
    """Every worker is a process of this machine, at a lower priority."""

    def start(self, worker: WorkerStart) -> Running:
        # Put before the command what starts it elsewhere, in the same folder: ("ssh", "host", ...).
        return Child(replace(worker, command=("nice", *worker.command)))
