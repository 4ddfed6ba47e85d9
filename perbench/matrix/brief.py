"""What the first process of a run asks of its workers: the plan, written to the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.disk.digests import read_sha256
from perbench.disk.sealed import read_sealed, write_sealed
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.options import Options
from perbench.plugins.roots import included
from perbench.shapes.base import Named
from perbench.specs.matrix import MatrixSpec
from perbench.store import RunDir
from perbench.store.check import RECORD

BRIEF = "plan.json"


@dataclass(frozen=True)
class Brief:
    """`todo`: identities of the cells to run, in the plan's order; `again`: by identity, the sha256 of a
    record that is to be replaced (of a failed or damaged cell), so that workers tell it from a new one;
    `started`: the run's start, for people; `folder`: where relative paths begin; the rest is as on the
    command line, in absolute paths."""

    name: str
    folder: str
    matrix: Mapping[str, Any]
    data: Mapping[str, str]
    limit: int | None
    include: Sequence[str]
    command: str
    track: str | None
    cached: bool
    cell_timeout: float | None
    expiry: float
    started: str
    todo: Sequence[str]
    again: Mapping[str, str]

    def write(self, run: RunDir) -> None:
        run.workers.mkdir(parents=True, exist_ok=True)
        write_sealed(run.workers / BRIEF, asdict(self), BRIEF)

    def cells(self) -> tuple[Catalogue, list[Cell]]:
        """The catalogue, and the cells to run as this process plans them.

        Raises:
            PerbenchError: this process plans other cells than the first: it has other data, models, plugins
                or settings.
        """
        plugins.include(*self.include)
        spec = MatrixSpec.model_validate(self.matrix)
        data = {family: Path(folder) for family, folder in self.data.items()}
        catalogue = Catalogue(spec, data, self.limit)
        cells = {cell.identity: cell for cell in expand(spec, catalogue)}
        for identity in self.todo:
            if identity not in cells:
                raise PerbenchError(
                    "this process has other data, models, plugins or settings than the first: its plan has "
                    f"no cell {identity[:16]}; use the same files and versions on all machines"
                )
        return catalogue, [cells[identity] for identity in self.todo]


def brief_of(
    matrix: Named[MatrixSpec],
    options: Options,
    command: str,
    todo: Sequence[Cell],
    run: RunDir,
    *,
    started: str,
    expiry: float,
) -> Brief:
    """Of the first process, before it starts workers."""
    return Brief(
        matrix.name,
        str(Path.cwd()),
        matrix.spec.model_dump(mode="json", by_alias=True),
        {family: str(folder.absolute()) for family, folder in options.data.items()},
        options.limit,
        [str(folder.absolute()) for folder in included()],
        command,
        options.track,
        options.cached,
        options.cell_timeout,
        expiry,
        started,
        [cell.identity for cell in todo],
        {cell.identity: seal for cell in todo if (seal := record_seal(run, cell)) is not None},
    )


def read_brief(run: RunDir) -> Brief:
    """
    Raises:
        PerbenchError: no run was started here, or its plan is damaged.
    """
    file = run.workers / BRIEF
    try:
        return Brief(**read_sealed(file, BRIEF))
    except FileNotFoundError:
        raise PerbenchError(
            f"{run.path} holds no plan to work on ({file} is missing); `perbench run --out {run.path}` makes "
            "one, and workers may join it"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise PerbenchError(f"{file}: {error}; start `perbench run` again, which rewrites it") from None


def record_seal(run: RunDir, cell: Cell) -> str | None:
    """The sha256 of a cell's record file, None without one."""
    try:
        return read_sha256(run.cell(cell.kind, cell.identity).path / RECORD)
    except OSError:
        return None
