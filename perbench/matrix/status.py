"""What the workers of a run do now, read from its directory by any process that sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError
from perbench.store import DamagedRecord, RunDir
from perbench.store.check import RECORD
from perbench.store.leases import Holder
from perbench.store.rundir import RUN, cells_of


@dataclass(frozen=True)
class Status:
    """Of the cells of a directory's latest plans: how many are `done`, which have `failed` with what message,
    which are `damaged`, and how many are `left`, damaged ones and those that are `running` included; all by
    folder name. `evaluated`: whether any of the `done` ones has scores. `seconds` are left with as many
    workers as now, None if unknown; `command` is the latest."""

    done: int
    failed: dict[str, str]
    damaged: list[str]
    left: int
    running: dict[str, Holder]
    seconds: float | None
    command: str | None
    evaluated: bool

    def as_json(self) -> dict[str, Any]:
        cells = [
            {
                "cell": one.what,
                "name": name,
                "worker": one.worker,
                "host": one.host,
                "pid": one.pid,
                "done": one.done,
                "total": one.total,
            }
            for name, one in self.running.items()
        ]
        counts = {"done": self.done, "failed": len(self.failed), "left": self.left}
        faults = {"failures": self.failed, "damaged": self.damaged}
        return {**counts, **faults, "running": cells, "seconds_left": self.seconds, "command": self.command}


def status_of(path: Path) -> Status:
    """
    Raises:
        PerbenchError: `path` is no run directory, or its run.json is damaged.
    """
    if not (path / RUN).exists():
        cells_of(path)  # names run directories nearby
    run = RunDir(path)
    try:
        described = run.description()
    except DamagedRecord as damage:
        raise PerbenchError(str(damage)) from None
    plans = described.get("plans", {})
    commands: list[dict[str, Any]] = described.get("commands", [])
    planned = {identity[:16] for identities in plans.values() for identity in identities}
    held = {name: one for name, one in run.leases().held().items() if name.partition("-")[2] in planned}
    spent: list[float] = []
    failed: dict[str, str] = {}
    damaged, done, evaluated = [], 0, False
    for name in sorted(run.begun()):
        if name.partition("-")[2] not in planned or name in held:  # one that runs again is not finished
            continue
        try:
            record = json.loads((path / "cells" / name / RECORD).read_bytes())
            spent.append(float(record["seconds"]))
            if record["status"] == "failed":
                failed[name] = str(record["error"]["message"])
            else:
                done += 1
                evaluated |= not name.startswith("train-")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            damaged.append(name)
    left = len(planned) - done - len(failed)
    work = left - sum(one.done / one.total for one in held.values() if 0 <= one.done <= one.total != 0)
    seconds = work * sum(spent) / len(spent) / len(held) if spent and held else None if left else 0.0
    last = max(commands, key=lambda one: str(one.get("last")), default={}).get("command")
    return Status(done, failed, damaged, left, held, seconds, str(last) if last else None, evaluated)
