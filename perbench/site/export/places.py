"""Where exports are written, and what they contain."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from perbench.contracts.results import Loaded, ModelRow, Outcome
from perbench.errors import PerbenchError
from perbench.site.rows import rows_of
from perbench.store import CellRecord


@dataclass(frozen=True)
class EvaluatedModel:
    """One model trained with one seed (or a base model), and its evaluations, by target."""

    row: ModelRow
    seed: int
    records: tuple[CellRecord, ...]

    @property
    def name(self) -> str:
        """ "tiny-perce-embedded-sotu_writing-seed0": safe as a file name."""
        row = self.row
        parts = (row.model, row.trainer, row.variation, row.source, f"seed{self.seed}")
        return slug("-".join(filter(None, parts)))


def evaluated_models(loaded: Loaded) -> list[EvaluatedModel]:
    rows = rows_of(loaded)
    held: dict[tuple[ModelRow, int], list[CellRecord]] = defaultdict(list)
    for entry in loaded.results:
        if entry.record.kind == "eval":
            held[rows[entry.record.identity], entry.record.labels.seed].append(entry.record)
    found = [
        EvaluatedModel(row, seed, tuple(sorted(records, key=lambda r: (r.labels.target or "", r.identity))))
        for (row, seed), records in held.items()
    ]
    return sorted(found, key=lambda one: (one.name, one.records[0].identity))


def status_of(outcome: Outcome) -> str:
    """ "done" if there is a number, else the text in its place."""
    return "done" if outcome.mean is not None and outcome.mean.value is not None else outcome.status_text


def slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", text).strip("-.") or "unnamed"


def place(out: Path, name: str) -> Path:
    """`out` / `name`, whose folder is created.

    Raises:
        PerbenchError: `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise PerbenchError(f"{out} is a file; name a folder: --out FOLDER")
    out.mkdir(parents=True, exist_ok=True)
    return out / name


def empty_folder(out: Path, name: str) -> Path:
    """A folder `out` / `name` for files whose names depend on the records.

    Raises:
        PerbenchError: it is not empty.
    """
    folder = place(out, name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PerbenchError(f"{folder} already exists; delete it, or name another folder: --out FOLDER")
    folder.mkdir(exist_ok=True)
    return folder
