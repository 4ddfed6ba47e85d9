"""Your own JSONL files: one file, or a folder of <split>.jsonl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perbench.contracts.source import Rows, Source
from perbench.data.folders import split_file
from perbench.data.jsonl import read_jsonl
from perbench.data.split import SplitSpec, cut
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict
from perbench.shapes.task import FieldSpec


class Keys(Strict):
    files: str
    """Path, relative to the task's file."""
    split: SplitSpec | None = None
    """How to split one file; without it, such a file is either a source or a target."""


class Files(Source[Keys]):
    Keys = Keys
    own = True

    def faults(self) -> Iterator[str]:
        if self.keys.split is not None and {"train_split", "test_split"} & self.spec.model_fields_set:
            yield "split excludes train_split and test_split; remove them"

    def idle(self) -> dict[str, str]:
        names = ("data.train_split", "data.test_split") if self._one else ()
        return dict.fromkeys(names, "if data.files is a single file")

    @property
    def _one(self) -> bool:
        return self.keys.files.endswith((".jsonl", ".json"))

    def _path(self, folder: Path) -> Path:
        return folder / Path(self.keys.files).expanduser()

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        path, into = self._path(folder), self.keys.split
        if path.is_dir():
            if into is not None:
                raise PerbenchError(
                    f"{path}: data.split splits a single file, but this is a folder; name a file in it"
                )
            file = split_file(path, split)
            return Rows(read_jsonl(file), {"files": f"{path.name}/{file.name}"}, file)
        rows = read_jsonl(path)
        if into is None:
            return Rows(rows, {"files": path.name}, path)
        described = {"files": path.name, "split": split, **into.model_dump()}
        return Rows(cut(path, rows, fields, into)[split], described, path, cut=into.model_dump(mode="json"))

    def has(self, split: str, folder: Path) -> bool:
        return self.keys.split is not None or (self._path(folder) / f"{split}.jsonl").is_file()

    def file(self, folder: Path) -> Path | None:
        return self._path(folder) if self._one and self.keys.split is None else None
