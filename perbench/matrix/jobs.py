"""Cells as jobs for executors, and their execution in other processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.console.printing import say
from perbench.contracts.executor import Job
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.options import Options
from perbench.matrix.run import Worker
from perbench.plugins.roots import included
from perbench.shapes.base import Named
from perbench.specs.matrix import MatrixSpec
from perbench.store import CellRecord, RunDir


def jobs_of(cells: Sequence[Cell], matrix: Named[MatrixSpec], options: Options, command: str) -> list[Job]:
    """The jobs of the cells to run, in the plan's order; finished trainings are not needed by any."""
    run = json.dumps(
        {
            "matrix": matrix.spec.model_dump(mode="json", by_alias=True),
            "data": {family: str(folder.absolute()) for family, folder in options.data.items()},
            "limit": options.limit,
            "include": [str(folder.absolute()) for folder in included()],
            "out": str(options.out.absolute()),
            "worker": {"command": command, "track": options.track, "cached": options.cached},
        }
    )
    due = {cell.identity for cell in cells}
    return [
        Job(run, cell.kind, cell.identity, str(cell), cell.model.name, _need(cell, due)) for cell in cells
    ]


def _need(cell: Cell, due: set[str]) -> str | None:
    return cell.needs.identity if cell.needs is not None and cell.needs.identity in due else None


class JobWork:
    """Implements `perbench.contracts.executor.Work`. In this process `here` executes jobs; pickled, it is
    omitted, and the receiving process plans the matrix again."""

    def __init__(self, here: Callable[[Job], CellRecord | None] | None = None) -> None:
        self._here = here

    def __reduce__(self) -> tuple[type[JobWork], tuple[()]]:
        return JobWork, ()

    def __call__(self, job: Job) -> CellRecord | None:
        if self._here is not None:
            return self._here(job)
        worker, cells = _planned(job.run)
        return worker.work(find(cells, job.identity), lambda *_: None)


@lru_cache(maxsize=1)
def _planned(run: str) -> tuple[Worker, dict[str, Cell]]:
    value: dict[str, Any] = json.loads(run)
    plugins.include(*value["include"])
    spec = MatrixSpec.model_validate(value["matrix"])
    data = {family: Path(folder) for family, folder in value["data"].items()}
    catalogue = Catalogue(spec, data, value["limit"])
    cells = {cell.identity: cell for cell in expand(spec, catalogue)}
    return Worker(catalogue, RunDir(Path(value["out"])), say=say, **value["worker"]), cells


def find(cells: Mapping[str, Cell], identity: str) -> Cell:
    """
    Raises:
        PerbenchError: this process has planned other cells than the one that asks.
    """
    if identity not in cells:
        raise PerbenchError(
            f"this process has other data, models, plugins or settings than the first: its plan has no cell "
            f"{identity[:16]}; use the same files and versions on all machines"
        )
    return cells[identity]
