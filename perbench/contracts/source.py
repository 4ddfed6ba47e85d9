"""Where rows come from: one file `sources/NAME.py`, in force in a task whose `data` holds its key."""

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
    """One row as the source gives it; `line` is its 1-based place in `place`."""

    place: Path | str
    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """Of one split. `described`: what records say of their origin, without a machine's paths; `place`:
    their file or other origin, for messages; `shared`: fields that all rows have in common, digested once;
    `cut`: how the split was cut out of other rows, part of the digest."""

    rows: list[Row]
    described: dict[str, Any]
    place: Path | str
    shared: Mapping[str, Any] = field(default_factory=dict)
    cut: Mapping[str, Any] | None = None


class Source(Owner[K]):
    """`Keys` are keys of `data`; the one without a default names the source in a task. `folder`, in all
    methods: where relative paths begin."""

    spec: DataSpec
    reads = frozenset({"data.train_split", "data.test_split", "data.overlap"})

    key: ClassVar[str]
    """The key of `Keys` without a default."""
    own: ClassVar[bool] = False
    """Whether rows are files of the user's, which `perbench validate` reads and checks."""
    family: ClassVar[bool] = False
    """Whether the value of its key is a family of data, as `--data FAMILY=DIR` names it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        needed = [name for name, info in cls.Keys.model_fields.items() if info.is_required()]
        if len(needed) != 1:
            raise TypeError(f"{cls.__name__}.Keys: one key without a default names the source, not {needed}")
        cls.key = needed[0]

    def faults(self) -> Iterator[str]:
        """What is wrong with the keys beyond types, each text starting with the key it is about."""
        return iter(())

    @abstractmethod
    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        """All rows of a split; `fields` names their fields.

        Raises:
            PerbenchError: they are not there, with the way out.
            SpecError: every malformed row, by place.
        """

    def has(self, split: str, folder: Path) -> bool:
        """Whether the split is there, apart from others; True where only reading it tells."""
        return True

    def has_train(self, folder: Path) -> bool:
        """Whether there are rows to train or tune on, apart from those to test on."""
        data = self.spec
        return data.train_split != data.test_split and self.has(data.train_split, folder)

    def file(self, folder: Path) -> Path | None:
        """The one file whose rows are read as either split; None where each has its own."""
        return None
