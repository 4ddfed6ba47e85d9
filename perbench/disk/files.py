"""Crash-safe files: atomic replacement and append-only journals, despite kills, full disks and power cuts."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError

SURROGATE = re.compile("[\ud800-\udfff]")


Guard = Callable[[], None]
"""Raises if this process may no longer write. It is called when a write is prepared, right before it takes
effect."""


def unguarded() -> None:
    """The guard of files that nobody else writes."""


def write_text(path: Path, text: str, guard: Guard = unguarded) -> None:
    """Replace `path` atomically: readers see the old content or the new.

    Raises:
        OSError: from the file system; `path` is then unchanged.
    """
    with replacing(path, guard) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path, guard: Guard = unguarded) -> Iterator[Path]:
    """A temporary name beside `path`; the file written to it durably replaces `path` when the block ends. If
    the block fails, `path` is unchanged. With concurrent writers, the last one wins."""
    # Random, since containers that share a folder may share process ids.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        guard()
        try:
            os.replace(temporary, path)
        except IsADirectoryError:
            raise IsADirectoryError(
                errno.EISDIR, "a folder is where this file belongs; delete it", str(path)
            ) from None
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any, guard: Guard = unguarded) -> None:
    """Replace `path` by `value` as indented JSON; NaN and infinity raise a ValueError."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Lone surrogates, which texts may hold, can only be stored as escapes.
    write_text(path, SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text), guard)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Journal:
    """The content of a JSONL file: complete rows, their size in bytes, the bytes of a torn last line."""

    rows: list[dict[str, Any]]
    size: int
    torn: int


def read_journal(path: Path, way_out: str | None = None) -> Journal:
    """Rows of a JSONL file, one object per line; an absent file is empty.

    A last line that lacks its newline or is not a JSON object was torn by a kill and is left out.

    Raises:
        PerbenchError: an earlier line is invalid, which no kill explains. The message ends with `way_out`;
            without one, the file is part of a cell.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Journal([], 0, 0)
    rows: list[dict[str, Any]] = []
    size = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        line += b"\n" if size + len(line) < len(content) else b""
        row = _object(line)
        if row is None:
            if size + len(line) < len(content):
                way_out = way_out or f"or delete the folder {path.parent} to run the cell again"
                raise PerbenchError(
                    f"{path}:{number}: not a JSON object, and not the last line, so not torn by a kill; "
                    f"restore the file, {way_out}"
                )
            break
        rows.append(row)
        size += len(line)
    return Journal(rows, size, len(content) - size)


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def cut_torn(path: Path, way_out: str | None = None) -> Journal:
    """`read_journal`, removing a torn last line from the file."""
    journal = read_journal(path, way_out)
    if journal.torn:
        with path.open("r+b") as file:
            file.truncate(journal.size)
            os.fsync(file.fileno())
    return journal


def append_journal(
    path: Path, rows: Sequence[Mapping[str, Any]], *, durable: bool = True, guard: Guard = unguarded
) -> None:
    """Append whole lines, durably; with `durable` false, safe only from a kill of this process.

    Raises:
        OSError: from the file system; the file is then truncated to its previous content.
    """
    lines = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode(
        "utf-8",
        "surrogatepass",  # texts may hold lone surrogates; json.loads reads them back
    )
    created = not path.exists()
    with path.open("ab", buffering=0) as file:
        guard()
        before = file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(lines):
                written += file.write(lines[written:])
            if durable:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    if created:
        sync_folder(path.parent)
