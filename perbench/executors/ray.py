"""Ray: one actor per worker, on this machine or a cluster; needs `pip install 'perbench[ray]'`."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from perbench.console.signals import kept_handlers
from perbench.contracts.executor import LOST, Child, Executor, Running, WorkerStart
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict

SECONDS = 10.0
"""Wait for an answer of an actor, or of a cluster's address, that should come at once."""


def _ray() -> Any:
    """The package, without its types: they are there only where it is installed."""
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise PerbenchError(
            "--executor ray needs the package ray, which is not installed; run: pip install 'perbench[ray]'"
        ) from None


class RayKeys(Strict):
    """`address`: of the cluster, None for a running one that Ray finds, else one of this machine; `cpus`: of
    each worker."""

    address: str | None = None
    cpus: float = Field(1.0, gt=0)


class Actor:
    """Runs a worker's command on its node, and lives as long as that. Ids and paths are all that it gets."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def start(self, worker: WorkerStart) -> None:
        ray = _ray()
        gpus = ray.get_gpu_ids()
        env = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if gpus else {}
        self._child = Child(worker, env)

    def ended(self) -> int | None:
        assert self._child is not None
        return self._child.ended()

    def stop(self) -> None:
        assert self._child is not None
        self._child.stop()


class RayWorker(Running):
    """A worker whose actor waits for its resources, runs, or is lost with its node."""

    def __init__(self, actor: Any, started: Any) -> None:
        self._actor, self._begun = actor, started
        self._code: int | None = None

    def ended(self) -> int | None:
        ray = _ray()
        if self._code is not None:
            return self._code
        try:
            if not ray.wait([self._begun], timeout=0)[0]:
                return None
            ray.get(self._begun)
            self._code = ray.get(self._actor.ended.remote(), timeout=SECONDS)
        except ray.exceptions.GetTimeoutError:
            return None
        except ray.exceptions.RayTaskError as error:
            raise PerbenchError(f"a worker cannot be started by Ray: {error.cause}") from None
        except ray.exceptions.RayError:  # the node or the actor is gone
            self._code = LOST
        if self._code is not None:
            self.kill()
        return self._code

    def stop(self) -> None:
        self._actor.stop.remote()

    def kill(self) -> None:
        ray = _ray()
        with suppress(ray.exceptions.RayError):
            ray.kill(self._actor)


class Ray(Executor[RayKeys]):
    Keys = RayKeys

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self._ours = False

    @property
    def workers(self) -> int:
        """One per GPU, else one per `cpus` CPUs."""
        self._connect()
        found = self._resources()
        return int(found.get("GPU", 0)) or max(1, int(found.get("CPU", 1) // self.keys.cpus))

    def check(self, workers: int, gpus: int | None) -> None:
        self._connect()
        found = self._resources()
        wanted = workers * self._gpus(gpus)
        if wanted > found.get("GPU", 0):
            raise PerbenchError(
                f"{workers} workers with {self._gpus(gpus)} GPU each need {wanted}, but Ray has "
                f"{found.get('GPU', 0):g}; start fewer: --workers N, or add nodes to the cluster"
            )
        if workers * self.keys.cpus > found.get("CPU", 0):
            raise PerbenchError(
                f"{workers} workers with {self.keys.cpus:g} CPU each need {workers * self.keys.cpus:g}, but "
                f"Ray has {found.get('CPU', 0):g}; start fewer: --workers N, or --executor-set cpus=0.5"
            )

    def start(self, worker: WorkerStart) -> Running:
        ray = _ray()
        self._connect()
        kind = ray.remote(Actor).options(
            num_gpus=self._gpus(worker.gpus), num_cpus=self.keys.cpus, max_restarts=0, max_concurrency=2
        )
        actor = kind.remote()
        return RayWorker(actor, actor.start.remote(worker))

    def close(self) -> None:
        if self._ours:
            ray = _ray()
            ray.shutdown()
            self._ours = False

    def _gpus(self, asked: int | None) -> int:
        return asked if asked is not None else min(1, int(self._resources().get("GPU", 0)))

    def _resources(self) -> Mapping[str, float]:
        ray = _ray()
        found: Mapping[str, float] = ray.cluster_resources()
        return found

    def _connect(self) -> None:
        ray = _ray()
        if ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        address = self.keys.address or os.environ.get("RAY_ADDRESS")
        if address is None and answers(last := latest_cluster()):
            address = last
        try:
            with kept_handlers():  # Ray exits at SIGTERM, without the word of what is kept
                if address is None:
                    ray.init(address="local", include_dashboard=False, **quiet)
                else:
                    if not answers(address):
                        raise ConnectionError("nothing answers there")
                    ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError, subprocess.SubprocessError) as error:
            raise PerbenchError(
                f"Ray cannot be reached at {address or 'this machine'}: {error}; start a cluster "
                "(`ray start --head`), or name another: --executor-set address=HOST:PORT"
            ) from None
        self._ours = True


def latest_cluster() -> str | None:
    """The address of the cluster that `ray start` last began on this machine, which may be gone; None if it
    began none, or `ray stop` ended it."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def answers(address: str | None) -> bool:
    """Whether something listens at HOST:PORT. Ray itself waits there without end. Addresses of other forms
    (auto, local, ray://...) are left to Ray."""
    host, _, port = (address or "").rpartition(":")
    if not (host and port.isdecimal() and "/" not in host):
        return address is not None
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
    except OSError:
        return False
    return True
