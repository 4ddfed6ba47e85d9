"""The content of a published file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from perbench.shapes.base import Strict
from perbench.specs.matrix import BaselineSpec
from perbench.store.record import CellRecord, Scores
from perbench.store.selection import Choice

SCHEMA: Literal[1] = 1
MOST_BYTES = 32 * 2**20
"""Size of the largest file; hosts of repositories refuse files of 50 to 100 MB."""


class PublishedCell(Strict):
    """A cell as its run shows it. `run` is the name of the run's folder; `scores` belong to finished
    evaluations only."""

    record: CellRecord
    run: str
    scores: Scores | None = None
    choices: list[Choice] = []
    """Of its matrices' selections, those in which it took part."""
    profiles: list[str] = []
    """Of its matrices."""
    digests: list[str] = []
    """The seals of all stored samples, in order: they prove which samples a run holds."""
    samples: list[dict[str, Any]] | None = None
    """The samples themselves, if their task is `redistributable`; one per digest."""
    sha256: str
    """Seal of all of the above (`perbench.disk.sealed`)."""


class MatrixPart(Strict):
    """What a matrix says about the target of a file: the rows and changes that define the task."""

    summary: str = ""
    baseline: str | BaselineSpec | None = None
    targets: list[str | dict[str, Any]] = []
    tasks: dict[str, dict[str, Any]] = {}


class Published(Strict):
    """One method on one target, all seeds. `trainings` are those whose models the cells evaluate; a file
    without cells holds trainings that nothing evaluates."""

    schema_version: Literal[1]
    cells: list[PublishedCell] = []
    trainings: list[PublishedCell] = []
    matrices: dict[str, MatrixPart] = Field(default_factory=dict)

    @property
    def placed(self) -> Iterator[tuple[str, PublishedCell]]:
        """All cells and trainings with their place in the file: "cells[0]"."""
        for name, found in (("cells", self.cells), ("trainings", self.trainings)):
            for place, cell in enumerate(found):
                yield f"{name}[{place}]", cell

    def training_of(self, cell: PublishedCell) -> CellRecord | None:
        wanted = cell.record.trained_by
        return next((one.record for one in self.trainings if one.record.identity == wanted), None)
