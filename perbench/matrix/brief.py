"""What the first process of a run asks of its workers: the plan, written to the run directory."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from perbench.disk.digests import canonical_digest, read_sha256
from perbench.disk.sealed import read_sealed, write_sealed
from perbench.errors import PerbenchError
from perbench.lm.native import native
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.options import Options
from perbench.matrix.select import choices, chosen, recorded
from perbench.plugins.roots import included
from perbench.shapes.base import Named
from perbench.specs.matrix import MatrixSpec
from perbench.specs.outside import outside
from perbench.store import RunDir
from perbench.store.check import RECORD
from perbench.store.rundir import WORKERS

BRIEF = "plan.json"
DECISIVE = ("matrix", "data", "limit", "include", "folder", "track")
"""Keys of a plan on which it depends what is read and executed."""
DIGITS = 32
"""Hexadecimal digits of a plan's digest."""


@dataclass(frozen=True)
class Brief:
    """`todo`: identities of the cells to run, in the plan's order; `again`: by identity, the sha256 of a
    record that is to be replaced (of a failed or damaged cell), so that workers tell it from a new one;
    `chosen`: identities of the trainings that the matrix's selection has chosen so far; `started`: the run's
    start, for people; `folder`: where relative paths begin; the rest is as on the command line, in absolute
    paths."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

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
    chosen: Sequence[str] = ()

    def write(self, run: RunDir) -> None:
        run.workers.mkdir(parents=True, exist_ok=True)
        write_sealed(run.workers / BRIEF, asdict(self), BRIEF)

    @property
    def spec(self) -> MatrixSpec:
        return MatrixSpec.model_validate(self.matrix)

    @property
    def digest(self) -> str:
        """Of all that decides what is read and executed; the same whenever the same command is started."""
        return canonical_digest({key: getattr(self, key) for key in DECISIVE})[:DIGITS]

    def allow(self, run: Path, plan: str | None) -> bool:
        """Check that the user of this process has allowed what it would execute and read for the plan:
        whoever can write to the run directory can write a plan.

        Args:
            plan: the digest that the user gave, or the process that started this one.

        Returns: whether the plan is allowed as a whole, with the folder in which it was made.

        Raises:
            PerbenchError: it names programs and files that the user did not; with the way to do so.
        """
        here = {folder.resolve() for folder in included()}
        absent = [folder for folder in self.include if Path(folder).resolve() not in here]
        known = plan is not None and plan == self.digest
        files = [] if known else self._files()
        if not absent and not files and (known or plan is None):
            return known
        asked = [
            *(f"  --include {folder}" for folder in absent),
            *(f"  {key}: {value}" for key, value in files),
        ]
        other = [f"--plan {plan} is of another plan."] if plan is not None and not known else []
        raise PerbenchError(
            "\n".join(
                [
                    *other,
                    f"{run / WORKERS / BRIEF} would run or read, with your rights, what was not named here:",
                    *(asked or ["  another matrix or other data than the plan that you named"]),
                    "Nothing was run. If you started this run, or have read all of it:",
                    f"  {self.join_command(run)}",
                ]
            )
        )

    def join_command(self, run: Path) -> str:
        """How to join the run."""
        words = ["perbench", "work", str(run)]
        words += [word for folder in self.include for word in ("--include", folder)]
        return shlex.join([*words, *(["--plan", self.digest] if self._files() else [])])

    def _files(self) -> list[tuple[str, str]]:
        """Files and programs that are named by the plan, but not by --include: by which key, and the name."""
        data = [("--data", f"{family}={folder}") for family, folder in self.data.items()]
        return [*dict.fromkeys([*outside(self.spec), *data])]

    def cells(self) -> tuple[Catalogue, list[Cell]]:
        """The catalogue, and the cells to run as this process plans them.

        Raises:
            PerbenchError: this process plans other cells than the first: it has other data, models, plugins
                or settings.
        """
        spec = self.spec
        data = {family: Path(folder) for family, folder in self.data.items()}
        catalogue = Catalogue(spec, data, self.limit)
        cells = {cell.identity: cell for cell in expand(spec, catalogue, self.chosen)}
        for identity in self.todo:
            if identity not in cells:
                raise PerbenchError(
                    "this process has other data, models, plugins or settings than the first: its plan has "
                    f"no cell {identity[:16]}; use the same files and versions on all machines (and name the "
                    f"dtype in the models' files if the machines differ: `auto` is {native()} here)"
                )
        return catalogue, [cells[identity] for identity in self.todo]

    def following(self, catalogue: Catalogue, run: RunDir) -> Brief | None:
        """The plan that the records of this one's cells lead to, by the matrix's selection; None if it was
        the last. Cells that failed in an earlier run are left to the first process."""
        spec = self.spec
        if spec.select is None:
            return None
        cells = expand(spec, catalogue, self.chosen)
        made = chosen(choices(spec, cells, recorded(run)))
        if made <= {*self.chosen}:
            return None
        known = {cell.identity for cell in cells}
        todo = [cell.identity for cell in expand(spec, catalogue, made) if cell.identity not in known]
        return replace(self, todo=todo, again={}, chosen=sorted(made))


def brief_of(
    matrix: Named[MatrixSpec],
    options: Options,
    command: str,
    todo: Sequence[Cell],
    run: RunDir,
    *,
    started: str,
    expiry: float,
    chosen: Collection[str] = (),
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
        sorted(chosen),
    )


def read_brief(run: RunDir) -> Brief:
    """
    Raises:
        PerbenchError: no run was started here, or its plan is damaged.
    """
    file = run.workers / BRIEF
    try:
        found = TypeAdapter(Brief).validate_json(json.dumps(read_sealed(file, BRIEF)))
        found.spec  # noqa: B018 - checked here, too
        return found
    except FileNotFoundError:
        raise PerbenchError(
            f"{run.path} holds no plan to work on ({file} is missing); `perbench run --out {run.path}` makes "
            "one, and workers may join it"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise PerbenchError(
            f"{file}: {where}: {fault['msg']}; start `perbench run` again, which rewrites it"
        ) from None
    except (OSError, ValueError) as error:
        raise PerbenchError(f"{file}: {error}; start `perbench run` again, which rewrites it") from None


def record_seal(run: RunDir, cell: Cell) -> str | None:
    """The sha256 of a cell's record file, None without one."""
    try:
        return read_sha256(run.cell(cell.kind, cell.identity).path / RECORD)
    except OSError:
        return None
