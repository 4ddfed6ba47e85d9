"""Published data that a family of tasks reads: one file `tasks/families/NAME.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from perbench.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Remote:
    """Files of a public repository.

    `files` maps a path there to its checksum, "sha256:..." or "git:..." (git's blob id), None where none is
    recorded; on Hugging Face a path may be a glob, and the hub tells the checksums. `revision` is a
    commit; None pins the newest commit at the first fetch.
    """

    host: Literal["github", "huggingface"]
    repository: str
    files: Mapping[str, str | None]
    revision: str | None = None


@dataclass(frozen=True)
class Skip:
    """A row that is left out, and why."""

    reason: str


class RawData(Protocol):
    """The files of a family as they were fetched, or as a local folder holds them. A record at fault is left
    out, and told when the table is done, with those of the table's other files.

    A file is named by its path without the suffix ("Books/train"); of several names the first that is there
    is read, as .jsonl, .json, .csv or .parquet, or as the parts NAME-*.parquet.
    """

    def records(self, *names: str, shape: Any) -> Iterator[dict[str, Any]]:
        """The file's records. One that is not of the `shape` is a fault with its file and line: a shape is a
        type, a tuple of shapes (any of them), a list of one shape, or a mapping of needed keys to shapes."""

    def texts(self, *names: str) -> Iterator[str]:
        """The strings of a file that holds JSON strings, one or several a line."""

    def source(self, name: str) -> str | None:
        """The text of the file of exactly this name; None where there is none, and where it is not UTF-8,
        which is told as a fault of the file."""

    def note(self, what: str) -> None:
        """Count something that the report and the manifest shall tell."""


class DatasetBuilder(Hyperparameters, ABC):
    """Data that a family of tasks reads: one file in `tasks/families/`, named as the family, holding exactly
    one subclass. `perbench data prepare NAME` fetches `remotes`, or takes a folder of the same files, and
    writes every table of `tables`, "CONFIG/SPLIT", as CONFIG/SPLIT.jsonl."""

    remotes: ClassVar[tuple[Remote, ...]]
    tables: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        """The rows of a table, in order, and what is left out of it."""

    def specs(self, raw: RawData) -> Mapping[str, str]:
        """Task files to write beside the tables, by name, where the raw data bring any."""
        return {}
