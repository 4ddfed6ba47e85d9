"""Runs whose workers die by SIGKILL at random, and the matrix that they run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perbench.store import RunDir
from tests.matrix.conftest import Root, write_root, write_rows, writing_rows

LIMIT = 600
"""Seconds that a busy machine may need for what a test waits for."""
PAUSE = "SECONDS_PER_STEP"
"""Variable: the plugins of `slow_root` wait so long in each update and each batch, which takes no CPU."""
WAITING = f'time.sleep(float(os.environ.get("{PAUSE}", "0")))'
TRAINER = f'''
"""Cross-entropy that takes its time."""

import os
import time

from perbench.api import Trainer


class SlowCe(Trainer):
    def loss(self, batch):
        {WAITING}
        logp = batch.factual.logp
        return -logp, logp.new_ones(logp.shape)
'''
DECODING = f'''
"""Ordinary decoding that takes its time."""

import os
import time

from perbench.contracts.decoding import Decoding


class Slow(Decoding):
    def decode(self, engine, prompts, sampling, *, seed):
        {WAITING}
        return engine.generate([one.factual for one in prompts], sampling, seed=seed)
'''


def slow_root(path: Path, model: Path, seeds: int = 1, rows: int = 40) -> Root:
    """A root with a matrix "killed" of 15 cells for the first seed, of which some take their time."""
    root = write_root(path, model)
    for folder, name, text in (("trainers", "slow_ce", TRAINER), ("decodings", "slow", DECODING)):
        (root.path / folder).mkdir(exist_ok=True)
        (root.path / folder / f"{name}.py").write_text(text)
    write_rows(root.path / "data" / "writing" / "test.jsonl", writing_rows(7, rows))
    files = {"files": "../../data/writing", "overlap": "accepted"}
    root.task("writing", decoding={"method": "slow"}, data=files)
    root.matrix(
        "killed",
        trainers=["slow_ce", "perce"],
        sources=["tiny/writing", "tiny/other"],
        targets=["tiny/writing", "tiny/talk", "tiny/qa"],
        baseline="slow_ce",
        seeds=[*range(seeds)],
    )
    return root


@dataclass
class Killed:
    """A run's exit code, and of each kill the second, the worker and the cell that it worked on, if any."""

    code: int | None = None
    kills: list[tuple[float, str, str]] = field(default_factory=list)


def run_killed(
    words: Sequence[str],
    out: Path,
    *,
    env: Mapping[str, str],
    kills: int,
    seed: int,
    most_cells: int,
    longest: float,
    say: Callable[[str], None] = lambda line: None,
) -> Killed:
    """`perbench WORDS` with a run directory `out`, while random workers are killed at random moments.

    Args:
        most_cells, longest: between two kills, at most so many cells are finished, and then so many seconds
            pass; how many, chance decides.
    """
    found, dice = Killed(), random.Random(seed)
    head = subprocess.Popen(
        [sys.executable, "-m", "perbench", *words],
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    began = time.monotonic()
    try:
        while len(found.kills) < kills:
            goal, pause = finished(out) + dice.randint(0, most_cells), dice.uniform(0.0, longest)
            until(lambda goal=goal: finished(out) >= goal or head.poll() is not None)
            with suppress(subprocess.TimeoutExpired):
                head.wait(pause)
                break
            workers, held = workers_of(head.pid), RunDir(out).leases().held().values()
            cells = {one.worker: one.what for one in held if one.pid == workers.get(one.worker)}
            if workers:
                name = dice.choice(sorted(workers))
                with suppress(ProcessLookupError):
                    os.kill(workers[name], signal.SIGKILL)
                    second, what = time.monotonic() - began, cells.get(name, "")
                    found.kills.append((second, name, what))
                    say(f"{len(found.kills)}. at {second:.0f} s {name} {what or '-'}")
        found.code = head.wait()
    finally:
        head.kill()
        head.wait()
    return found


def finished(out: Path) -> int:
    return len([*out.glob("cells/*/cell.json")])


def workers_of(head: int) -> dict[str, int]:
    """The live workers of a run's first process on this machine, by name."""
    found = {}
    for child in children(head):
        with suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            alive = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            if "work" in words and alive:
                found[words[words.index("--name") + 1]] = child
    return found


def children(process: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def until(found: Callable[[], Any]) -> Any:
    """What `found` gives once it is true."""
    for _ in range(LIMIT * 20):
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {LIMIT} s")
