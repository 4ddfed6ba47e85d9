"""A run in stages: with `select`, the candidates first, then the evaluations of those that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.select import any_of_each, choices, chosen, recorded
from perbench.specs.matrix import MatrixSpec
from perbench.store import RunDir
from perbench.store.selection import Choice


@dataclass(frozen=True)
class Stage:
    """The cells of a matrix as far as they are known, and the choices made so far. `later`: further cells,
    were all choices made, whichever they may be. Without `select` there is one stage, of all cells."""

    spec: MatrixSpec
    cells: list[Cell]
    choices: Sequence[Choice]
    later: Sequence[Cell]

    @property
    def chosen(self) -> frozenset[str]:
        """The identities of the chosen trainings."""
        return chosen(self.choices)

    def next(self, catalogue: Catalogue, run: RunDir) -> Stage | None:
        """The stage that the records of this one lead to; None if it was the last."""
        if self.spec.select is None:
            return None
        found = choices(self.spec, self.cells, recorded(run))
        before, after = ([(one.chosen, one.notes) for one in made] for made in (self.choices, found))
        return None if before == after else _stage(self.spec, catalogue, found)


def first_stage(spec: MatrixSpec, catalogue: Catalogue, run: RunDir) -> Stage:
    """The first stage that is not finished: choices that earlier records decide are made. A candidate that
    failed runs again first."""
    cells = expand(spec, catalogue)
    found = choices(spec, cells, recorded(run), retry=True)
    return Stage(spec, cells, found, ()) if spec.select is None else _stage(spec, catalogue, found)


def _stage(spec: MatrixSpec, catalogue: Catalogue, found: Sequence[Choice]) -> Stage:
    made, possible = chosen(found), any_of_each(found)
    cells = expand(spec, catalogue, made)
    if possible == made:
        return Stage(spec, cells, found, ())
    known = {cell.identity for cell in cells}
    whole = expand(spec, catalogue, possible)
    return Stage(spec, cells, found, [cell for cell in whole if cell.identity not in known])
