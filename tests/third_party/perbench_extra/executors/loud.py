"""Processes of this machine, each announced."""

from __future__ import annotations

import sys

from perbench.contracts.base import NoKeys
from perbench.contracts.executor import Child, Executor, Running, WorkerStart


class Loud(Executor[NoKeys]):
    def start(self, worker: WorkerStart) -> Running:
        print("LOUD", worker.name, file=sys.stderr)
        return Child(worker)
