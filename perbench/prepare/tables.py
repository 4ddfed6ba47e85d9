"""Makes a table of prepared data: rows are checked, counted, drawn and written, with their origin."""

from __future__ import annotations

import heapq
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.family import DatasetBuilder, Skip
from perbench.disk.digests import file_sha256
from perbench.disk.files import sync_folder, write_text
from perbench.errors import PerbenchError
from perbench.prepare.raw import RawFiles

if TYPE_CHECKING:
    from perbench.progress import Tick

EVERY = 100
"""Rows between two progress reports."""


class TableMaker:
    """Makes the tables of a family from the raw files in `folders`, into `out`.

    `settings`: what a table depends on besides its files; `sample` and `seed` as in `prepare.Request`.
    """

    def __init__(
        self,
        family: DatasetBuilder,
        folders: list[Path],
        out: Path,
        *,
        settings: str,
        sample: int | None,
        seed: int,
    ) -> None:
        self._family = family
        self._folders = folders
        self._out = out
        self._settings = settings
        self._sample = sample
        self._seed = seed

    def is_current(self, name: str, table: Mapping[str, Any]) -> bool:
        """Whether the table is intact and was made from the same files with the same settings."""
        file = self._out / f"{name}.jsonl"
        raw = RawFiles(self._folders)
        return (
            table["settings"] == self._settings
            and file.is_file()
            and file_sha256(file) == table["sha256"]
            and all(
                (file_sha256(path) if (path := raw.path(input)) is not None else None) == digest
                for input, digest in table["inputs"].items()
            )
        )

    def make(self, name: str, tick: Tick) -> dict[str, Any]:
        """Write a table and describe it."""
        raw = RawFiles(self._folders)
        skipped: Counter[str] = Counter()
        lines = _lines(
            name,
            self._family.rows(name, raw),
            skipped,
            lambda: tick(min(raw.done, raw.total) // 1024, raw.total // 1024, {}),
        )
        drawn = self._draw(name, lines)
        file = self._out / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.tmp")
        rows, digest = 0, sha256()
        try:
            with draft.open("wb") as out:
                for line in _checked(drawn, raw):
                    out.write(line)
                    digest.update(line)
                    rows += 1
                out.flush()
                os.fsync(out.fileno())
            if not rows:
                reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "no records"
                raise PerbenchError(f"{name}: no usable row in {', '.join(_there(raw))} ({reasons})")
            os.replace(draft, file)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(file.parent)
        return {
            "rows": rows,
            "skipped": dict(skipped),
            "notes": dict(raw.notes),
            "sha256": digest.hexdigest(),
            "inputs": raw.inputs,
            "settings": self._settings,
        }

    def specs(self) -> dict[str, str]:
        """Write the task files that come with the raw data; returns their sha256 by name."""
        written = {}
        raw = RawFiles(self._folders)
        specs = self._family.specs(raw)
        raw.check()
        for name, text in specs.items():
            (self._out / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(self._out / name, text)
            written[name] = sha256(text.encode()).hexdigest()
        return written

    def _draw(self, name: str, lines: Iterable[bytes]) -> Iterable[bytes]:
        if self._sample is None:
            return lines
        train = name.rpartition("/")[2] == "train"
        count = self._sample if train else max(1, self._sample // 4)
        # The smallest hashes: a uniform draw in memory of its own size.
        ranked = (
            (sha256(f"{self._seed}/{name}/{number}".encode()).digest(), number, line)
            for number, line in enumerate(lines)
        )
        drawn = heapq.nsmallest(count, ranked)
        return (line for _, _, line in sorted(drawn, key=lambda entry: entry[1]))


def _checked(lines: Iterable[bytes], raw: RawFiles) -> Iterator[bytes]:
    """The lines; raises SpecError after the last one if the files held faults, also if the family failed
    because of the records left out."""
    try:
        yield from lines
    except Exception:
        raw.check()
        raise
    raw.check()


def _there(raw: RawFiles) -> list[str]:
    return [name for name, digest in raw.inputs.items() if digest is not None]


def _lines(
    name: str, rows: Iterable[Mapping[str, Any] | Skip], skipped: Counter[str], report: Callable[[], None]
) -> Iterator[bytes]:
    """Each row as a line of JSON, without duplicates."""
    seen: set[bytes] = set()
    for number, row in enumerate(rows, start=1):
        if number % EVERY == 0:
            report()
        if isinstance(row, Skip):
            skipped[row.reason] += 1
            continue
        try:
            line = _encoded(row)
        except (TypeError, ValueError) as error:
            raise PerbenchError(f"{name}, row {number}: holds what JSON cannot represent: {error}") from None
        digest = sha256(line).digest()
        if digest in seen:
            skipped["duplicate"] += 1
            continue
        seen.add(digest)
        yield line


def _encoded(row: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can represent
        return (json.dumps(row, allow_nan=False) + "\n").encode()
