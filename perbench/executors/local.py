"""Processes of this machine; without --workers, the one that was started is the only one."""

from __future__ import annotations

import os
import subprocess

from perbench.contracts.base import NoKeys
from perbench.contracts.executor import Child, Executor, Running, WorkerStart
from perbench.errors import PerbenchError

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Local(Executor[NoKeys]):
    def check(self, workers: int, gpus: int | None) -> None:
        found = devices()
        wanted = gpus if gpus is not None else min(1, len(found))
        if workers * wanted > len(found):
            raise PerbenchError(
                f"{workers} workers with {wanted} GPU each need {workers * wanted}, but {len(found)} can be "
                "seen here; start fewer: --workers N, or let them share: --gpus-per-cell 0"
            )

    def start(self, worker: WorkerStart) -> Running:
        found = devices()
        count = worker.gpus if worker.gpus is not None else min(1, len(found))
        own = found[worker.number * count :][:count]
        return Child(worker, {VISIBLE: ",".join(own)} if own else {})


def devices() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (given := os.environ.get(VISIBLE)) is not None:
        return [one.strip() for one in given.split(",") if one.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]
