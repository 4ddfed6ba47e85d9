"""Several workers on one run directory: are the results those of one process when they die, and is it faster?

    python benchmarks/workers.py                     # 30 kills of three workers; then one worker against two
    python benchmarks/workers.py --only kills --kills 10 --seed 7
    python benchmarks/workers.py --only speed --seeds 8 --rounds 3

A tiny random model; two trainers, two sources, three targets, an identifier (tests/matrix/killing.py).

Kills: random workers are killed by SIGKILL at random moments, no faster than cells are finished (a cell
in which five workers die in a row counts as failed). The run is compared with one of a single undisturbed
process: records but for their times, samples, scores, training logs and weights, byte for byte. Some cells
wait in each step, so that kills meet them at work. Exit code 1 when anything differs.

Speed: single-threaded cells by one worker and by two, in turn. On a machine that does other things wall time
says little, so the CPU time is reported, too: on two cores of their own, the time of a run is about that of
its first process and its slowest worker.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from perbench.conformance.tiny import write_model
from perbench.store.rundir import read_records
from tests.matrix.killing import PAUSE, run_killed, slow_root, workers_of
from tests.matrix.runs import results

GOAL = 1.6
LOOK = 0.2
TICK = os.sysconf("SC_CLK_TCK")


def perbench(words: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "perbench", *words]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=quiet, stderr=quiet)


def words(out: Path, *more: str) -> list[str]:
    return ["run", "--matrix", "killed", "--out", str(out), *more]


def kills(folder: Path, args: argparse.Namespace) -> bool:
    """Whether the results of a run with kills equal those of one without; printed as it goes."""
    root = slow_root(folder / "root", folder / "tiny", seeds=args.seeds)
    env = {"PERBENCH_INCLUDE": str(root.path), "OMP_NUM_THREADS": "1"}
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    assert perbench(words(whole), env).wait() == 0
    wanted = results(whole)
    cells = sum("/" not in name for name in wanted)
    print(f"undisturbed, one process: {cells} cells in {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    found = run_killed(
        words(killed, "--workers", "3"),
        killed,
        env={**env, PAUSE: str(args.pause)},
        kills=args.kills,
        seed=args.seed,
        most_cells=args.most_cells,
        longest=args.longest,
        say=lambda line: print(f"  {line}", flush=True),
    )
    for record, _ in read_records(killed):
        if record.error is not None:
            print(f"  {record.kind} {record.labels.trainer} {record.labels.target}: {record.error.message}")
    again = 0
    code = found.code
    while code not in (0, None) and again < 3:  # as a user would
        again += 1
        code = perbench(words(killed, "--workers", "3"), env).wait()
    given = results(killed)
    odd = [name for name in sorted({*wanted, *given}) if wanted.get(name) != given.get(name)]
    print(
        f"{len(found.kills)} kills, {sum(bool(what) for _, _, what in found.kills)} of them within a cell; "
        f"exit code {found.code}{f', then {code} of the same command' if again else ''}; "
        f"{time.monotonic() - began:.0f} s; of {len(wanted)} records and files {len(odd)} differ",
        *odd,
        sep="\n  ",
    )
    return not odd and code == 0 and len(found.kills) == args.kills


@dataclass
class Timed:
    """Seconds of a run, of the CPU in its first process, and in its slowest worker."""

    wall: float
    head: float
    worker: float


def timed(out: Path, workers: int, env: dict[str, str]) -> Timed:
    began = time.monotonic()
    head = perbench(words(out, "--workers", str(workers)), env)
    spent: dict[int, float] = {}
    while head.poll() is None:
        with contextlib.suppress(OSError):
            for process in (head.pid, *workers_of(head.pid).values()):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                spent[process] = (int(fields[11]) + int(fields[12])) / TICK
        time.sleep(LOOK)
    assert head.returncode == 0
    wall, own = time.monotonic() - began, spent.pop(head.pid)
    assert len(spent) == workers
    return Timed(wall, own, max(spent.values()))


def speed(folder: Path, args: argparse.Namespace) -> None:
    """Tell how much faster two workers are than one."""
    root = slow_root(folder / "root", folder / "tiny", seeds=args.seeds)
    env = {"PERBENCH_INCLUDE": str(root.path), "OMP_NUM_THREADS": "1"}
    found: dict[int, list[Timed]] = {1: [], 2: []}
    for number in range(args.rounds):
        for workers in found:
            one = timed(folder / f"speed-{number}-{workers}", workers, env)
            found[workers].append(one)
            print(
                f"workers {workers}: {one.wall:.1f} s; CPU: first process {one.head:.1f} s, slowest worker "
                f"{one.worker:.1f} s; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    walls = [statistics.median(one.wall for one in found[n]) for n in (1, 2)]
    cpus = [statistics.median(one.head + one.worker for one in found[n]) for n in (1, 2)]
    print(
        f"2 workers against 1: {walls[0] / walls[1]:.2f} times as fast (goal: {GOAL}); by CPU time "
        f"{cpus[0] / cpus[1]:.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["kills", "speed"])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--seeds", type=int, default=6, help="of the matrix: 14 cells each, and one")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds that a step waits, with kills")
    between = "between two kills, at most so many cells are finished,"
    parser.add_argument("--most-cells", type=int, default=4, help=between)
    parser.add_argument("--longest", type=float, default=10.0, help="and then so many seconds pass")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            write_model(folder / "tiny")
        good = args.only == "speed" or kills(folder, args)
        if args.only != "kills":
            speed(folder, args)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
