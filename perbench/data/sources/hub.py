"""A dataset on the Hugging Face hub, read by the package datasets, or a local folder of the same rows."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.contracts.source import Rows, Source
from perbench.data.folders import Folders, folder_faults, has_split, read_folder, with_shared
from perbench.data.values import numbered
from perbench.errors import NotThere
from perbench.shapes.task import FieldSpec


class Keys(Folders):
    hub: str
    """A dataset repository `owner/name`; `config` is its configuration."""
    revision: str | None = None


class Hub(Source[Keys]):
    Keys = Keys

    def faults(self) -> Iterator[str]:
        return folder_faults(self.keys)

    def idle(self) -> dict[str, str]:
        return {"data.revision": "if data.data_dir is set"} if self.keys.data_dir is not None else {}

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        return with_shared(self.keys, lambda config: self._table(config, split, folder))

    def _table(self, config: str | None, split: str, folder: Path) -> Rows:
        keys, root = self.keys, self.keys.place(folder)
        if root is not None:
            return read_folder(root, config, split)
        try:
            datasets: Any = importlib.import_module("datasets")
        except ModuleNotFoundError as error:
            raise NotThere(
                f"reading {keys.hub} from the hub needs the package datasets",
                "run: pip install 'perbench[hub]', or name a local folder of <config>/<split>.jsonl: --data "
                "FAMILY=DIR",
            ) from error
        try:
            table = datasets.load_dataset(keys.hub, config, split=split, revision=keys.revision)
        except Exception as error:  # the client raises its own and its HTTP library's types
            raise NotThere(
                f"{keys.hub} ({config}, {split}) does not load: {type(error).__name__}: {error}",
                "offline, name a local folder of <config>/<split>.jsonl: --data FAMILY=DIR",
            ) from error
        described = {"hub": keys.hub, "config": config, "split": split, "revision": keys.revision}
        place = f"{keys.hub} {config} {split}"
        return Rows(numbered(place, table), described, place)

    def get(self, described: Mapping[str, Any]) -> str:
        return "pip install 'perbench[hub]'"

    def has(self, split: str, folder: Path) -> bool:
        root = self.keys.place(folder)
        return root is None or has_split(root, self.keys.config, split)
