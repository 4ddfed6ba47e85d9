"""Reads folders of <config>/<split>.jsonl, for several data sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from perbench.contracts.source import Rows
from perbench.data.jsonl import read_jsonl
from perbench.data.lines import packed
from perbench.data.prepared import origin
from perbench.data.values import MOST_PROBLEMS
from perbench.errors import PerbenchError, Problem, SpecError, suggest
from perbench.shapes.base import Strict


class Folders(Strict):
    config: str | None = None
    """The folder of <split>.jsonl, or the hub's configuration."""
    shared: str | None = None
    """A folder beside `config` with one row, whose fields are added to every row."""
    data_dir: str | None = None
    """A local folder of <config>/<split>.jsonl to read instead; set by `--data FAMILY=DIR`."""

    def place(self, folder: Path) -> Path | None:
        """`data_dir`, if given."""
        return None if self.data_dir is None else folder / Path(self.data_dir).expanduser()


def folder_faults(keys: Folders) -> Iterator[str]:
    if keys.config is None:
        if keys.data_dir is not None:
            yield "data_dir replaces a hub dataset or prepared family that has a config"
        if keys.shared is not None:
            yield "shared is a folder of a hub dataset or prepared family, beside config"


def read_folder(root: Path, config: str | None, split: str) -> Rows:
    """
    Raises:
        PerbenchError: there is no such folder, or no such split in it.
        SpecError: every malformed line, by number.
    """
    assert config is not None, "checked by faults()"
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise PerbenchError(f"{root}: {what}; check the path, data.data_dir or --data FAMILY=DIR")
    path = split_file(root / config, split)
    return Rows(read_jsonl(path), {"data_dir": f"{config}/{split}.jsonl", **origin(root)}, path)


def has_split(root: Path, config: str | None, split: str) -> bool:
    return (root / (config or "") / f"{split}.jsonl").is_file()


def split_file(folder: Path, split: str) -> Path:
    path = folder / f"{split}.jsonl"
    if folder.is_dir() and not path.is_file():
        there = [file.stem for file in folder.glob("*.jsonl")]
        hint = packed(folder, path.name)
        raise PerbenchError(f"{folder} has no split {split!r}.{suggest(split, there)}{hint.lstrip('.')}")
    return path


def with_shared(keys: Folders, read: Callable[[str | None], Rows]) -> Rows:
    """The rows that `read` returns for `config`, with the fields of the one row of `shared`, if given.

    Raises:
        PerbenchError: as `read`; also if `shared` does not hold exactly one row.
        SpecError: as `read`; also every row that has one of the shared fields.
    """
    table = read(keys.config)
    if keys.shared is None:
        return table
    common = read(keys.shared).rows
    if len(common) != 1:
        raise PerbenchError(
            f"{common[0].place if common else keys.shared}: data.shared needs a file of one row, whose "
            f"fields are added to every row (found {len(common)} rows)"
        )
    shared = common[0].fields
    faults = [
        Problem(
            row.place,
            row.line,
            f"the row has a field {name!r}, which {keys.shared} gives to all; remove it from one, or set "
            "data.shared: null",
        )
        for row in table.rows
        for name in sorted(shared.keys() & row.fields.keys())
    ]
    if faults:
        raise SpecError(faults[:MOST_PROBLEMS])
    rows = [replace(row, fields={**shared, **row.fields}) for row in table.rows]
    return Rows(rows, {**table.described, "shared": keys.shared}, table.place, shared)
