"""Slurm by submitit: one job array, a worker per task; needs `pip install 'perbench[slurm]'`."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from perbench.contracts.executor import LOST, Child, Executor, Running, WorkerStart
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict

LOOK = 0.5
"""Seconds between looks at the child, within a job."""
GRACE = 60.0
"""Seconds that a worker has to save its work before its job is requeued."""

LOG_LEVEL = "SUBMITIT_LOG_LEVEL"
"""Variable that submitit reads when it is imported."""


def _submitit() -> Any:
    """The package, without its types: they are there only where it is installed. Imported otherwise, it would
    close the log handlers of other libraries, and write its own log to stdout, where results go."""
    given = os.environ.get(LOG_LEVEL)
    os.environ[LOG_LEVEL] = "NOCONFIG"
    try:
        return importlib.import_module("submitit")
    except ImportError:
        raise PerbenchError(
            "--executor slurm needs the package submitit, which is not installed; run: pip install "
            "'perbench[slurm]'"
        ) from None
    finally:
        os.environ.pop(LOG_LEVEL) if given is None else os.environ.update({LOG_LEVEL: given})


REQUEUES = 1000
"""Times that a job is queued again because its time is up: as often as it takes."""


class SlurmKeys(Strict):
    """What `sbatch` is asked for: time in `minutes`, `partition`, `account`, `qos`, `cpus` and `memory_gb` of
    each worker, and further `options` by their long names ({constraint: a100}). `cluster: local` runs the
    jobs as processes of this machine, to try things out."""

    cluster: Literal["slurm", "local"] = "slurm"
    minutes: int = Field(1440, ge=1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    cpus: int = Field(4, ge=1)
    memory_gb: float | None = Field(None, gt=0)
    options: dict[str, Any] = {}


class SlurmTask:
    """What a job runs. When Slurm preempts it, or its time is up, the worker saves what it has, and the job
    is queued again."""

    def __init__(self, worker: WorkerStart) -> None:
        self._worker = worker
        self._child: Child | None = None

    def __call__(self) -> int:
        self._child = Child(self._worker)
        while (code := self._child.ended()) is None:
            time.sleep(LOOK)
        return code

    def checkpoint(self) -> Any:
        if self._child is not None:
            self._child.stop()
            until = time.monotonic() + GRACE
            while self._child.ended() is None and time.monotonic() < until:
                time.sleep(LOOK)
            self._child.kill()
        return _submitit().helpers.DelayedSubmission(SlurmTask(self._worker))


class SlurmWorker(Running):
    def __init__(self, job: Any) -> None:
        self._job = job

    def ended(self) -> int | None:
        if not self._job.done():
            return None
        if self._job.exception() is not None:
            return LOST
        return int(self._job.result())

    def stop(self) -> None:
        self._job.cancel(check=False)

    def kill(self) -> None:
        self._job.cancel(check=False)


class Slurm(Executor[SlurmKeys]):
    Keys = SlurmKeys

    def check(self, workers: int, gpus: int | None) -> None:
        submitit = _submitit()
        if self.keys.cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise PerbenchError(
                "--executor slurm: there is no `srun` here; start perbench where jobs can be submitted, or "
                "try it in processes of this machine: --executor-set cluster=local"
            )

    def start(self, worker: WorkerStart) -> Running:
        return self.start_all([worker])[0]

    def start_all(self, workers: Sequence[WorkerStart]) -> Sequence[Running]:
        """As one job array."""
        submitit = _submitit()
        keys = self.keys
        executor = submitit.AutoExecutor(
            folder=str(_jobs(workers[0].log)), cluster=keys.cluster, slurm_max_num_timeout=REQUEUES
        )
        more = {"partition": keys.partition, "account": keys.account, "qos": keys.qos}
        wanted: dict[str, Any] = {
            "name": "perbench",
            "timeout_min": keys.minutes,
            "cpus_per_task": keys.cpus,
            "mem_gb": keys.memory_gb,
            "gpus_per_node": workers[0].gpus,
            "slurm_additional_parameters": keys.options or None,
            **{f"slurm_{name}": value for name, value in more.items()},
        }
        executor.update_parameters(**{name: value for name, value in wanted.items() if value is not None})
        with executor.batch():
            jobs = [executor.submit(SlurmTask(worker)) for worker in workers]
        return [SlurmWorker(job) for job in jobs]


def _jobs(log: Path) -> Path:
    """The folder of submitit's own files."""
    return log.parent / "slurm"
