"""Reads lines of UTF-8 files one at a time, up to a maximum length."""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Iterator
from pathlib import Path

from perbench.errors import Problem, SpecError

PACKED = {".gz": "gunzip", ".zip": "unzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd"}
"""Suffixes of compressed files, which are not read, and the commands that decompress them."""
MOST_BYTES = 16 * 2**20
"""Maximum size of a line: parsing 200 MB of JSON takes fifty times as much memory."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1, without a byte order mark.

    Raises:
        SpecError: a line is too long (and not read further) or not UTF-8.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_BYTES + 1):
            number += 1
            if len(line) > MOST_BYTES:
                message = (
                    f"a line of more than {MOST_BYTES // 2**20} MB; write one row per line, and only what "
                    "tasks read"
                )
                raise SpecError([Problem(path, number, message)])
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise SpecError([Problem(path, number, _encoding(path, line, error))]) from None
            yield number, text


def _encoding(path: Path, line: bytes, error: UnicodeDecodeError) -> str:
    wide = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    name, sure = ("UTF-16", "") if wide else ("LATIN1", ", if it is Latin-1")
    return (
        f"not UTF-8 ({error.reason} at byte {error.start + 1} of the line); convert it{sure}: "
        f"iconv -f {name} -t UTF-8 {shlex.quote(str(path))} > ROWS.jsonl"
    )


def packed(folder: Path, name: str) -> str:
    """A hint at a compressed file of this name, or ""."""
    there = [suffix for suffix in PACKED if (folder / f"{name}{suffix}").is_file()]
    return f". {folder / name}{there[0]} is not read; decompress it with {PACKED[there[0]]}" if there else ""
