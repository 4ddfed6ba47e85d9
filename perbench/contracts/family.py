"""A published dataset that a family of tasks reads: one file `tasks/families/NAME.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Literal, Protocol

from perbench.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Remote:
    """Files of a public repository.

    `files` maps a path to its checksum, "sha256:..." or "git:..." (git's blob id), or None if unknown; on
    Hugging Face a path may be a glob, and the hub provides checksums. `revision` is a commit; None pins the
    newest commit at the first download. On the host "web", `repository` is an address without https://, to
    which the paths are appended, and there are no commits.
    """

    host: Literal["github", "huggingface", "web"]
    repository: str
    files: Mapping[str, str | None]
    revision: str | None = None


@dataclass(frozen=True)
class Skip:
    """A row that is left out, and why."""

    reason: str


def mixed(options: Sequence[str], gold: int, key: str) -> tuple[list[str], int]:
    """The options in an order by hash, and the new place of `gold`: published files often put the right one
    first. The order depends on `key` and the options' texts alone, not on their order in the file."""
    order = sorted(range(len(options)), key=lambda i: sha256(f"{key}\n{options[i]}".encode()).digest())
    return [options[place] for place in order], order.index(gold)


class RawData(Protocol):
    """The files of a family, downloaded or in a local folder. Faulty records are left out, and reported when
    the table is complete, with those of the table's other files.

    A file is named by its path without suffix ("Books/train"); the first of several names that exists is
    read, as .jsonl, .json, .csv or .parquet, or as the parts NAME-*.parquet.
    """

    def records(self, *names: str, shape: Any) -> Iterator[dict[str, Any]]:
        """The file's records. One that does not match `shape` is a fault with file and line. A shape is a
        type, a tuple of alternative shapes, a list of one shape, or a mapping of required keys to shapes."""

    def has(self, *names: str) -> bool:
        """Whether a file of one of these names exists."""

    def texts(self, *names: str) -> Iterator[str]:
        """The strings of a file with JSON strings, one or several per line."""

    def source(self, name: str) -> str | None:
        """The text of the file of exactly this name; None if it is missing or not UTF-8, which is reported as
        a fault."""

    def note(self, what: str) -> None:
        """Count something for the report and the manifest."""


class DatasetBuilder(Hyperparameters, ABC):
    """A dataset that a family of tasks reads: one file in `tasks/families/`, named as the family, with
    exactly one subclass. `perbench data prepare NAME` downloads `remotes`, or takes a folder of the same
    files, and writes every table of `tables`, "CONFIG/SPLIT", as CONFIG/SPLIT.jsonl."""

    remotes: ClassVar[tuple[Remote, ...]]
    tables: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        """The rows of a table, in order, and those left out of it."""

    def specs(self, raw: RawData) -> Mapping[str, str]:
        """Task files to write beside the tables, by name, if the raw data contain any."""
        return {}
