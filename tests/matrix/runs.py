"""Runs of `perbench run` in processes of their own, and a way to kill them at a chosen point.

Importing torch and transformers takes most of a tiny run's time, so the processes are forked from one that
has imported them: `python runs.py` reads requests from stdin, one JSON object per line, and answers each with
the exit status of a fresh child.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Runs:
    """The process that forks. A run's `status` is its exit code, or minus the signal that killed it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __call__(
        self,
        root: Path,
        *words: str,
        kill: tuple[str, int] | None = None,
        full: int | None = None,
        hang: int | None = None,
        skew: float = 0.0,
        expiry: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> tuple[int, str, str]:
        """(status, stdout, stderr) of `perbench WORDS`; `kill`: die by SIGKILL in the n-th call of a
        function; `full`: the n-th write of samples finds the disk full; `hang`: the n-th call of a model
        never returns, and hours pass; `skew`: seconds by which the machine's clock is ahead; `expiry`:
        seconds after which a lease that nobody renews is free; `env`: further variables."""
        output, errors = root.parent / "stdout", root.parent / "stderr"
        request = {"words": words, "root": str(root), "kill": kill, "full": full}
        request |= {"hang": hang, "skew": skew, "expiry": expiry, "env": dict(env or {})}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(
            json.dumps({**request, "output": str(output), "errors": str(errors)}) + "\n"
        )
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, output.read_text(), errors.read_text()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def results(out: Path) -> dict[str, Any]:
    """All that an interruption must not change: records less their times (and seals over logs with times),
    samples, scores, weights."""
    found: dict[str, Any] = {}
    for folder in sorted((out / "cells").iterdir()):
        record = json.loads((folder / "cell.json").read_text())
        for name in ("seconds", "peak_memory_mb", "started", "finished", "command", "weights"):
            del record[name]
        del record["sha256"]
        record["files"].pop("training.jsonl", None)  # whose rows hold their times
        del record["environment"]["commit"]  # the checkout may move on while the tests run
        record["counts"].pop("torn_lines_cut", None)
        record["tokens"] = {key: n for key, n in record["tokens"].items() if not key.startswith("timed")}
        for entry in record["training_log"]:
            del entry["tokens_per_second"]
        found[folder.name] = record
        for file in sorted(folder.rglob("*")):
            if file.suffix == ".safetensors" or file.name in ("samples.jsonl", "scores.json"):
                found[f"{folder.name}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
        if (log := folder / "training.jsonl").exists():
            found[f"{folder.name}/log"] = [json.loads(line) for line in log.read_text().splitlines()]
            for row in found[f"{folder.name}/log"]:
                del row["tokens_per_second"], row["peak_memory_mb"], row["sha256"]
    return found


def serve() -> None:
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

    import perbench.engines.transformers.engine
    import perbench.training  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(request)
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(request: dict[str, Any]) -> None:
    from perbench.cli import main

    for descriptor, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ |= {"PERBENCH_INCLUDE": request["root"], **request["env"]}
    sys.argv = ["perbench", *request["words"]]
    if request["kill"]:
        _arm(*request["kill"])
    if request["full"]:
        _fill_disk(request["full"])
    if request["hang"]:
        _hang(request["hang"])
    if request["expiry"] is not None:
        from perbench.store import leases

        leases.EXPIRY = request["expiry"]
    real = time.time
    time.time = lambda: real() + request["skew"]
    if folder := os.environ.get("DELETE_AT_APPEND"):
        from perbench.store import CellDir

        _replace(CellDir, "append", 1, lambda *_: shutil.rmtree(folder))
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(where: str, count: int) -> None:
    """SIGKILL in the `count`-th call of a function: at its end, or in its midst for "torn". "interrupt" is
    Ctrl-C at an append."""
    from perbench.engines.openai.engine import OpenAIEngine
    from perbench.engines.transformers.engine import TransformersEngine
    from perbench.store import CellDir
    from perbench.training.checkpoint import Checkpoints

    if where == "torn":
        _replace(CellDir, "append", count, lambda cell, _: _tear(cell))
        return
    if where == "interrupt":
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _replace(CellDir, "append", count, lambda cell, _: os.kill(os.getpid(), signal.SIGINT))
        return
    owners = {
        "chat": OpenAIEngine,
        "generate": TransformersEngine,
        "score": TransformersEngine,
        "save": Checkpoints,
        "finish weights": Checkpoints,
    }
    owner = owners.get(where, CellDir)
    name = "finish" if where == "finish weights" else where
    original = getattr(owner, name)

    def last(*args: Any, **options: Any) -> None:
        original(*args, **options)
        _die()

    _replace(owner, name, count, last)


def _tear(cell: Any) -> None:
    with (cell.path / "samples.jsonl").open("ab") as file:
        file.write(b'{"id": "test/us')
    _die()


def _fill_disk(count: int) -> None:
    import errno

    from perbench.store import CellDir

    def full(cell: Any, _: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cell.path / "samples.jsonl"))

    _replace(CellDir, "append", count, full)


def _hang(count: int) -> None:
    from perbench.engines.transformers.engine import TransformersEngine
    from perbench.matrix.run import Hang

    passed = [0.0]
    Hang.__init__.__defaults__ = (lambda: time.monotonic() + passed[0],)

    def forever(*_: Any, **__: Any) -> None:
        passed[0] += 1e4
        threading.Event().wait()

    _replace(TransformersEngine, "generate", count, forever)


def _replace(owner: Any, name: str, count: int, last: Callable[..., None]) -> None:
    original, calls = getattr(owner, name), 0

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return (last if calls == count else original)(*args, **options)

    setattr(owner, name, counting)


if __name__ == "__main__":
    serve()
