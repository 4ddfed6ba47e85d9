"""The cells of a run that are left to do, as one worker sees them; it claims one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from perbench.matrix.brief import record_seal
from perbench.matrix.cells import Cell
from perbench.store import RunDir
from perbench.store.leases import Holder, Lease, Leases


@dataclass(frozen=True)
class Claim:
    """A cell that this worker holds."""

    cell: Cell
    lease: Lease


class Board:
    """Cells in the plan's order; of these, `unfinished` have no record of this run yet.

    Args:
        again: by identity, the sha256 of a record file that is to be replaced (`perbench.matrix.brief`).
    """

    def __init__(self, cells: Sequence[Cell], run: RunDir, leases: Leases, again: Mapping[str, str]) -> None:
        self.unfinished = {cell.identity: cell for cell in cells}
        self.leases = leases
        self._run = run
        self._again = again
        self._refused: set[str] = set()
        self._last: Cell | None = None
        self._news: list[Cell] = []
        self._models: dict[str, dict[str, Cell]] = {}
        self._groups: dict[str, dict[str, Cell]] = {}
        for cell in cells:
            self._models.setdefault(cell.model.name, {})[cell.identity] = cell
            self._groups.setdefault(_group(cell), {})[cell.identity] = cell

    @property
    def ended(self) -> bool:
        """Whether this worker has nothing to wait for."""
        return self.unfinished.keys() <= self._refused

    def claim(self) -> Claim | None:
        """The next cell for this worker; None if others hold all that could be worked now.

        Cells that share trained weights with the last one come first, then those that share its model, then
        those of models that no other worker has loaded; each in the plan's order, in which evaluations
        follow their training.

        Raises:
            OSError: from the file system, such as a full disk.
        """
        held = self.leases.held()
        for cell in self._candidates(held):
            if cell.identity in self._refused or lease_name(cell) in held or not self._ready(cell):
                continue
            lease = self.leases.claim(lease_name(cell), str(cell), cell.model.name)
            if lease is None:
                continue
            if self.finished(cell):  # between two looks
                lease.release()
                continue
            self._last = cell
            return Claim(cell, lease)
        return None

    def look(self) -> list[Cell]:
        """The cells that others have finished since the last look."""
        folders = self._run.begun()  # few of many cells, at first
        for cell in [*self.unfinished.values()]:
            if lease_name(cell) in folders:
                self.finished(cell)
        news, self._news = self._news, []
        return news

    def others(self) -> list[Holder]:
        """Who holds unfinished cells."""
        names = {lease_name(cell) for cell in self.unfinished.values()}
        return [holder for name, holder in self.leases.held().items() if name in names]

    def refuse(self, cell: Cell) -> None:
        """Leave a cell to others: this worker could not write its record."""
        self._refused.add(cell.identity)

    def finished(self, cell: Cell, *, mine: bool = False) -> bool:
        """Whether a cell has a record of this run, by whichever worker; by this one if it is `mine`."""
        if cell.identity not in self.unfinished:
            return True
        seal = record_seal(self._run, cell)
        if seal is None or seal == self._again.get(cell.identity):
            return False
        del self.unfinished[cell.identity]
        self._models[cell.model.name].pop(cell.identity)
        self._groups[_group(cell)].pop(cell.identity)
        self._news += [] if mine else [cell]
        return True

    def _ready(self, cell: Cell) -> bool:
        """Whether the training that it needs has ended, in whatever way; its record says how."""
        if self.finished(cell):
            return False
        return cell.needs is None or cell.needs.identity in self._refused or self.finished(cell.needs)

    def _candidates(self, held: Mapping[str, Holder]) -> Iterator[Cell]:
        """May give a cell repeatedly."""
        if self._last is not None:
            yield from [*self._groups[_group(self._last)].values()]
            yield from [*self._models[self._last.model.name].values()]
        loaded = {holder.model for holder in held.values()}
        for model in sorted(self._models, key=loaded.__contains__):
            yield from [*self._models[model].values()]


def lease_name(cell: Cell) -> str:
    return f"{cell.kind}-{cell.identity[:16]}"


def _group(cell: Cell) -> str:
    """Of a training and its evaluations; of the evaluations of a base model."""
    return (cell.needs or cell).identity if cell.needs or cell.kind == "train" else cell.model.name
