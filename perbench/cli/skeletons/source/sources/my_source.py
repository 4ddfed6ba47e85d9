"""my_source: describe in this line what rows it reads, for `perbench ls`; then the format's source."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from perbench.contracts.source import Rows, Source
from perbench.data.values import numbered
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict
from perbench.shapes.task import FieldSpec


class Keys(Strict):
    my_source: str
    """The file, relative to the task's. A key without a default names the source in a task's `data`."""
    lists: list[str] = []
    """Columns that hold lists, with items separated by bars."""


class MySource(Source[Keys]):
    """Comma-separated columns; the column `split` names the row's split."""

    Keys = Keys

    def faults(self) -> Iterator[str]:
        if not self.keys.my_source.endswith(".csv"):
            yield "my_source: must end on .csv"

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        path = folder / self.keys.my_source
        if not path.is_file():
            raise PerbenchError(f"no file {path}; check data.my_source")
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        found = [{name: self._value(name, text) for name, text in row.items()} for row in rows]
        return Rows(numbered(str(path), found), {"my_source": path.name, "split": split}, path)

    def _value(self, column: str, text: str) -> str | list[str]:
        return text.split("|") if column in self.keys.lists else text
