"""Overlaps of tests with trainings: refused before anything runs, or counted in records."""

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
"""Maximum places in a message."""


def refused(cells: Iterable[Cell]) -> list[str]:
    """Why cells may not run, once per pair of tasks: training saw the target's answers, and its task does not
    accept this."""
    pairs = _pairs(cells)
    return [_refusal(cell, overlap) for cell, overlap in pairs if _is_refused(cell, overlap)]


def accepted(cells: Iterable[Cell]) -> list[str]:
    """Accepted overlaps, once per pair of tasks, and answers in their own history."""
    return [
        f"target {cell.labels.target}: {note}"
        for cell, overlap in _pairs(cells)
        if not _is_refused(cell, overlap)
        for note in overlap_notes(cell.labels, {**overlap.counts, "samples": overlap.tested})
    ]


def counts(cell: Cell) -> dict[str, int]:
    """The counts of a cell's overlap, for its record."""
    return cell.overlap.counts if cell.overlap is not None else {}


def overlap_notes(labels: Labels, counts: dict[str, int]) -> list[str]:
    """The notes of a record with these counts."""
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
            f"set data.split: {{by: user}}, {way_out}"
        )
    places = cell.data.places
    (seen, *_) = notes(overlap.counts, overlap.tested, cell.labels.source)
    first = ", ".join(places.get(one, one) for one in overlap.seen[:SHOWN])
    return f"target {cell.labels.target}: {seen} (first: {first}); remove them from one of the two, {way_out}"


def _one_file(cell: Cell) -> bool:
    """Whether a cell is evaluated on the same unsplit file that its training reads."""
    if cell.needs is None:
        return False
    sides = [cell.needs.task, cell.task]
    one, other = (source_of(side.spec.data).file(side.folder) for side in sides)
    return one is not None and other is not None and one.resolve() == other.resolve()
