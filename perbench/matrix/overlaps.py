"""What of a matrix's tests its trainings see: refused before anything runs, or counted at the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from perbench.data.overlap import notes
from perbench.specs.compose import source_of
from perbench.store import Labels

if TYPE_CHECKING:
    from perbench.data.overlap import Overlap
    from perbench.matrix.cells import Cell

SHOWN = 3
"""Places that a message names."""


def refused(cells: Iterable[Cell]) -> list[str]:
    """Why the cells may not run, once per pair of tasks: the target's answers were seen in training, and its
    task does not say that this is accepted."""
    pairs = _pairs(cells)
    return [_refusal(cell, overlap) for cell, overlap in pairs if _is_refused(cell, overlap)]


def accepted(cells: Iterable[Cell]) -> list[str]:
    """What is seen all the same, once per pair of tasks, and answers that stand in their own history."""
    return [
        f"target {cell.labels.target}: {note}"
        for cell, overlap in _pairs(cells)
        if not _is_refused(cell, overlap)
        for note in overlap_notes(cell.labels, {**overlap.counts, "samples": overlap.tested})
    ]


def counts(cell: Cell) -> dict[str, int]:
    """What a cell's record counts of its overlap."""
    return cell.overlap.counts if cell.overlap is not None else {}


def overlap_notes(labels: Labels, counts: dict[str, int]) -> list[str]:
    """The caveats of a record with these counts."""
    return notes(counts, counts.get("samples", 0), labels.source)


def _is_refused(cell: Cell, overlap: Overlap) -> bool:
    return bool(overlap.seen or _one_file(cell)) and cell.task.spec.data.overlap is None


def _pairs(cells: Iterable[Cell]) -> Iterator[tuple[Cell, Overlap]]:
    seen = set()
    for cell in cells:
        key = (cell.labels.source, cell.labels.target)
        if cell.overlap is not None and key not in seen:
            seen.add(key)
            yield cell, cell.overlap


def _refusal(cell: Cell, overlap: Overlap) -> str:
    way_out = f"or set data.overlap: accepted in {cell.task.path or cell.task.name}"
    if _one_file(cell):
        return (
            f"target {cell.labels.target}: source {cell.labels.source} trains on the same file: "
            f"split it with data.split: {{by: user}}, {way_out}"
        )
    places = cell.data.places
    (said, *_) = notes(overlap.counts, overlap.tested, cell.labels.source)
    first = ", ".join(places.get(one, one) for one in overlap.seen[:SHOWN])
    return f"target {cell.labels.target}: {said} (first: {first}); take them out of one of the two, {way_out}"


def _one_file(cell: Cell) -> bool:
    """Whether a cell is evaluated on the very file that its training reads, uncut on both sides."""
    if cell.needs is None:
        return False
    sides = [cell.needs.task, cell.task]
    one, other = (source_of(side.spec.data).file(side.folder) for side in sides)
    return one is not None and other is not None and one.resolve() == other.resolve()
