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
from perbench.store.rundir import WHOLE, cells_of


@dataclass(frozen=True)
class Status:
    """Of the cells of a directory's latest plans: how many are `done` and `failed`, and how many are `left`,
    those included that are `running`, by folder name. `seconds` are left with as many workers as now, None if
    unknown."""

    done: int
    failed: int
    left: int
    running: dict[str, Holder]
    seconds: float | None

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
        counts = {"done": self.done, "failed": self.failed, "left": self.left}
        return {**counts, "running": cells, "seconds_left": self.seconds}


def status_of(path: Path) -> Status:
    """
    Raises:
        PerbenchError: `path` is no run directory, or its run.json is damaged.
    """
    if not (path / "run.json").exists():
        cells_of(path)  # names run directories nearby
    run = RunDir(path)
    try:
        plans = run.description().get("plans", {})
    except DamagedRecord as damage:
        raise PerbenchError(str(damage)) from None
    planned = {identity[:16] for identities in plans.values() for identity in identities}
    spent: dict[str, list[float]] = {}
    states: dict[str, str] = {}
    for file in path.glob(f"cells/*/{RECORD}"):
        kind, _, identity = file.parent.name.partition("-")
        if identity not in planned:
            continue
        try:
            record = json.loads(file.read_bytes())
            states[identity] = record["status"]
            spent.setdefault(kind, []).append(float(record["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: left to do
    held = {name: one for name, one in run.leases().held().items() if name != WHOLE}
    for name in held:
        states.pop(name.partition("-")[2], None)  # it runs again
    left = len(planned) - len(states)
    every = [seconds for group in spent.values() for seconds in group]
    mean = sum(every) / len(every) if every else None
    return Status(
        sum(state == "done" for state in states.values()),
        sum(state == "failed" for state in states.values()),
        left,
        held,
        left * mean / len(held) if mean is not None and held else None if left else 0.0,
    )
