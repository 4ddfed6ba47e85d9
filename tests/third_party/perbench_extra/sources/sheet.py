"""A table parted by tabs; the column `split` says what a row is for, bars part the items of a list."""

from __future__ import annotations

from pathlib import Path

from perbench.contracts.source import Rows, Source
from perbench.data.values import numbered
from perbench.shapes.base import Strict
from perbench.shapes.task import FieldSpec


class Keys(Strict):
    sheet: str


class Sheet(Source[Keys]):
    Keys = Keys

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        path = folder / self.keys.sheet
        head, *lines = (line.split("\t") for line in path.read_text("utf-8").splitlines())
        found = [dict(zip(head, line, strict=True)) for line in lines]
        rows = [{**row, "past": row["past"].split("|")} for row in found if row["split"] == split]
        return Rows(numbered(str(path), rows), {"sheet": path.name, "split": split}, path)
