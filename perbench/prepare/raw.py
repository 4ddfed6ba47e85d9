"""Reads the raw files of a family (JSON, JSON lines, CSV, Parquet) by row, with the place of every fault."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from perbench.data import shape as shapes
from perbench.data.jsonl import json_fault, parse_json
from perbench.data.lines import packed, read_lines
from perbench.data.values import mended
from perbench.disk.digests import file_sha256
from perbench.errors import PerbenchError, Problem, SpecError
from perbench.prepare import arrays

Spot = tuple[int | None, str]
"""Position of a record in a file: its line or, if unknown, None and "record 3: "."""
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MOST_PROBLEMS = 20
"""Maximum number of faults reported, shared among the files; reading stops after as many."""


class Missing(PerbenchError):
    """A file of the family is not in the folder."""


class RawFiles:
    """The files in `folders`, searched in this order: the RawData that a family reads.

    `inputs` maps every requested file, relative to its folder, to its sha256, or None if missing; `notes`
    counts the family's notes; `done` of `total` is the progress in approximate bytes.

    Faulty records are left out and kept for `check`, so that faults of later files are reported, too.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self.inputs: dict[str, str | None] = {}
        self.done = self.total = 0
        self.notes: Counter[str] = Counter()
        self._problems: dict[Path, list[Problem]] = {}

    def records(self, *names: str, shape: Any) -> Iterator[dict[str, Any]]:
        """See `perbench.api.RawData`.

        Raises:
            Missing: none of the names is there.
        """
        for path in self._find(names):
            for spot, value in self._values(path):
                faults = list(shapes.faults(value, shape))
                for fault in faults:
                    self._fault(path, spot, fault)
                if not faults:
                    yield value
                elif self._given_up(path):
                    break

    def texts(self, *names: str) -> Iterator[str]:
        """See `perbench.api.RawData`; raises as `records`."""
        decoder = json.JSONDecoder()
        for path in self._find(names):
            for number, line in self._lines(path):
                rest = line.strip()
                while rest:
                    try:
                        value, end = decoder.raw_decode(rest)
                    except ValueError as error:
                        self._fault(path, (number, ""), f"not JSON: {error}")
                        break
                    if not isinstance(value, str):
                        self._fault(path, (number, ""), f"holds {value!r}, not a text")
                        break
                    yield self._whole(value)
                    rest = rest[end:].lstrip()

    def source(self, name: str) -> str | None:
        """See `perbench.api.RawData`."""
        for folder in self._folders:
            if (folder / name).is_file():
                self.inputs[name] = file_sha256(folder / name)
                try:
                    return (folder / name).read_text(encoding="utf-8-sig")
                except UnicodeDecodeError as error:
                    self._not_text(folder / name, error)
                    return None
        self.inputs[name] = None
        return None

    def has(self, *names: str) -> bool:
        """See `perbench.api.RawData`."""
        return any(self._there(folder, name) for name in names for folder in self._folders)

    def note(self, what: str) -> None:
        """See `perbench.api.RawData`."""
        self.notes[what] += 1

    def check(self) -> None:
        """Raise SpecError if any record was faulty."""
        if self._problems:
            share = max(1, MOST_PROBLEMS // len(self._problems))
            shown = [problem for faults in self._problems.values() for problem in faults[:share]]
            raise SpecError(shown[:MOST_PROBLEMS])

    def path(self, name: str) -> Path | None:
        """The file of an input's name, or None."""
        return next((folder / name for folder in self._folders if (folder / name).is_file()), None)

    def _find(self, names: tuple[str, ...]) -> list[Path]:
        for name in names:
            for folder in self._folders:
                found = self._there(folder, name)
                for path in found:
                    self.inputs[path.relative_to(folder).as_posix()] = file_sha256(path)
                    self.total += path.stat().st_size
                if found:
                    return found
            self.inputs.update({f"{name}{suffix}": None for suffix in SUFFIXES})
        wanted = " or ".join(names)
        hints = (
            packed(folder, f"{name}{suffix}")
            for name in names
            for folder in self._folders
            for suffix in SUFFIXES
        )
        places = " or ".join(map(str, self._folders))
        raise Missing(f"no file {wanted} ({', '.join(SUFFIXES)}) in {places}{''.join(hints)}")

    def _there(self, folder: Path, name: str) -> list[Path]:
        """The file of this name, or its parts."""
        found = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
        return found[:1] or sorted(folder.glob(f"{name}-*.parquet"))

    def _fault(self, path: Path, spot: Spot, message: str) -> None:
        line, start = spot
        self._problems.setdefault(path, []).append(Problem(path, line, start + message))

    def _given_up(self, path: Path) -> bool:
        return len(self._problems.get(path, ())) >= MOST_PROBLEMS

    def _values(self, path: Path) -> Iterator[tuple[Spot, Any]]:
        """The records; an unreadable file is recorded as a fault, too."""
        if path.suffix == ".parquet":
            yield from self._parquet(path)
        elif path.suffix == ".csv":
            yield from self._csv(path)
        elif path.suffix == ".json" and (form := self._form(path)) != "lines":
            yield from self._array(path) if form == "array" else self._object(path)
        else:
            for number, line in self._lines(path):
                try:
                    value = parse_json(line.rstrip())
                except (ValueError, RecursionError) as error:
                    self._fault(path, (number, ""), json_fault(error))
                    continue
                yield (number, ""), self._whole(value) if "\\u" in line else value

    def _lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """The lines that are not blank, from 1."""
        try:
            for number, line in read_lines(path):
                self.done += len(line)
                if self._given_up(path):
                    return
                if line.strip():
                    yield number, line
        except SpecError as error:
            self._problems.setdefault(path, []).extend(error.problems)

    def _whole(self, value: Any) -> Any:
        """The value with lone surrogates, which other files cannot hold, replaced by U+FFFD and noted."""
        whole = mended(value)
        if whole != value:
            self.note("records with half a character, now U+FFFD")
        return whole

    def _not_text(self, path: Path, error: UnicodeDecodeError) -> None:
        self._fault(path, (None, ""), f"not UTF-8 ({error.reason} at byte {error.start})")

    def _parquet(self, path: Path) -> Iterator[tuple[Spot, Any]]:
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ModuleNotFoundError:
            raise PerbenchError(
                f"{path}: reading Parquet needs the package pyarrow; run: pip install 'perbench[hub]'"
            ) from None
        number = 0
        try:
            with parquet.ParquetFile(path) as file:
                share = path.stat().st_size // max(file.metadata.num_rows, 1)
                for batch in file.iter_batches(batch_size=64):
                    self.done += share * batch.num_rows
                    for row in batch.to_pylist():
                        number += 1
                        yield (None, f"record {number}: "), row
        except (arrow.ArrowInvalid, OSError) as error:
            self._fault(path, (None, ""), f"not Parquet, or damaged after record {number}: {error}")

    def _form(self, path: Path) -> Literal["array", "object", "lines"]:
        """Whether a file is one array, one object over several lines, or has a value per line."""
        try:
            line = arrays.first_line(path)
        except UnicodeDecodeError:
            return "lines"  # which names the line
        return "array" if line.startswith("[") else "object" if line == "{" else "lines"

    def _array(self, path: Path) -> Iterator[tuple[Spot, Any]]:
        def read(count: int) -> None:
            self.done += count

        try:
            for number, (line, value, escaped) in enumerate(arrays.array_items(path, read), start=1):
                yield (line, f"record {number}: "), self._whole(value) if escaped else value
        except UnicodeDecodeError as error:
            self._not_text(path, error)
        except arrays.NotJson as error:
            self._fault(path, (error.line, ""), str(error))

    def _object(self, path: Path) -> Iterator[tuple[Spot, Any]]:
        try:
            text = path.read_text(encoding="utf-8-sig")
            self.done += len(text)
            value = parse_json(text)
        except UnicodeDecodeError as error:
            self._not_text(path, error)
        except json.JSONDecodeError as error:
            self._fault(path, (error.lineno, ""), f"not JSON: {error.msg}")
        except (ValueError, RecursionError) as error:
            self._fault(path, (None, ""), json_fault(error))
        else:
            yield (None, ""), self._whole(value) if "\\u" in text else value

    def _csv(self, path: Path) -> Iterator[tuple[Spot, Any]]:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file, strict=True)
                for row in rows:
                    yield (rows.line_num, ""), row
        except UnicodeDecodeError as error:
            self._not_text(path, error)
        except csv.Error as error:
            self._fault(path, (rows.line_num, ""), f"not CSV: {error}")
