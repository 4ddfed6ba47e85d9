"""A dataset family, prepared in the user cache by `perbench data prepare`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.contracts.source import Rows, Source
from perbench.data.folders import Folders, folder_faults, has_split, read_folder, with_shared
from perbench.data.lines import packed
from perbench.data.prepared import prepared_folder
from perbench.errors import NotThere
from perbench.shapes.task import FieldSpec


class Keys(Folders):
    prepared: str
    """The family; `config` is one of its folders."""


class Prepared(Source[Keys]):
    Keys = Keys
    family = True

    def faults(self) -> Iterator[str]:
        if self.keys.config is None:
            yield "prepared needs a config, which names a folder of the family"
        yield from folder_faults(self.keys)

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        return with_shared(self.keys, lambda config: self._table(config, split, folder))

    def _table(self, config: str | None, split: str, folder: Path) -> Rows:
        family, file = self.keys.prepared, f"{config}/{split}.jsonl"
        root = self._root(folder)
        if (root.is_dir() or self.keys.data_dir is None) and not (root / file).is_file():
            raise NotThere(
                f"{root} has no {file}",
                f"run `perbench data prepare {family}` (--from PATH reads local files; with --out DIR, "
                f"name the folder by --data {family}=DIR){packed(root, file)}",
            )
        return read_folder(root, config, split)

    def get(self, described: Mapping[str, Any]) -> str:
        origin = {name.partition(":")[2]: commit for name, commit in described.get("origin", {}).items()}
        pinned = [f" --revision {name}={commit}" for name, commit in origin.items() if name]
        return f"perbench data prepare {self.keys.prepared}{''.join(pinned)}"

    def _root(self, folder: Path) -> Path:
        return self.keys.place(folder) or prepared_folder(self.keys.prepared)

    def has(self, split: str, folder: Path) -> bool:
        return has_split(self._root(folder), self.keys.config, split)
