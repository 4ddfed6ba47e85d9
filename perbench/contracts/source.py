"""Where rows come from: one file `sources/NAME.py`, used by tasks whose `data` holds its key."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perbench.contracts.base import K, Owner

if TYPE_CHECKING:
    from perbench.shapes.task import DataSpec, FieldSpec


@dataclass(frozen=True)
class Row:
    """One row of a source; `line` is its 1-based position in `place`."""

    place: Path | str
    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of a split. `described`: their origin for records, without machine paths; `place`: their file
    or other origin, for messages; `shared`: fields common to all rows, digested once; `cut`: how the split
    was taken from other rows, part of the digest."""

    rows: list[Row]
    described: dict[str, Any]
    place: Path | str
    shared: Mapping[str, Any] = field(default_factory=dict)
    cut: Mapping[str, Any] | None = None


class Source(Owner[K]):
    """`Keys` are keys of `data`; the one without a default selects the source. `folder` in all methods is the
    base of relative paths."""

    spec: DataSpec
    reads = frozenset({"data.train_split", "data.val_split", "data.test_split", "data.overlap"})

    key: ClassVar[str]
    """The key of `Keys` without a default."""
    own: ClassVar[bool] = False
    """Whether rows are the user's own files, which `perbench validate` reads and checks."""
    family: ClassVar[bool] = False
    """Whether the value of its key is a dataset family, as in `--data FAMILY=DIR`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        needed = [name for name, info in cls.Keys.model_fields.items() if info.is_required()]
        if len(needed) != 1:
            raise TypeError(f"{cls.__name__}.Keys: one key without a default names the source, not {needed}")
        cls.key = needed[0]

    def faults(self) -> Iterator[str]:
        """Faults of the keys beyond types, each starting with its key."""
        return iter(())

    @abstractmethod
    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        """All rows of a split; `fields` names their fields.

        Raises:
            PerbenchError: they are missing; the message says what to do.
            SpecError: every malformed row, by location.
        """

    def has(self, split: str, folder: Path) -> bool:
        """Whether the split exists separately; True if only reading can tell."""
        return True

    def has_train(self, folder: Path) -> bool:
        """Whether there are rows to train or tune on, separate from those to test on."""
        data = self.spec
        return data.train_split != data.test_split and self.has(data.train_split, folder)

    def file(self, folder: Path) -> Path | None:
        """The single file whose rows serve as any split; None if each split has its own."""
        return None

    def files(self, folder: Path) -> list[Path]:
        """The files and folders that `read` reads, as far as its keys name them; for packs, which take along
        those beside the task's file."""
        keys = self.keys.model_dump()
        named = (folder / keys[name] for name in sorted(keys) if isinstance(keys[name], str))
        return [path for path in named if path.exists()]

    def get(self, described: Mapping[str, Any]) -> str | None:
        """The command that makes the rows available on another machine; None if no command does. `described`:
        their origin, as in `Rows`."""
        return None
