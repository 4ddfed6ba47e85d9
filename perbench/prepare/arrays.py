"""Reads a JSON array item by item, since published files of one array may be larger than the memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from perbench.data.jsonl import parse_next
from perbench.data.lines import MOST_BYTES

BLANK = re.compile(r"[ \t\n\r]*")
ENDS = tuple(" \t\n\r,]")
"""The characters after a number in an array; before others, or at the end of a piece, it may go on."""
CHUNK = 1 << 20


class NotJson(Exception):
    """A fault of the text, and its line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def first_line(path: Path) -> str:
    """The first line that is not blank, without white space at its edges and at most CHUNK characters."""
    with path.open(encoding="utf-8-sig") as file:
        while line := file.readline(CHUNK):
            if line.strip():
                return line.strip()
    return ""


def array_items(path: Path, read: Callable[[int], None]) -> Iterator[tuple[int, Any, bool]]:
    """The items of a file that holds one array: the line on which each begins, the item, and whether its text
    has escapes (\\u....). `read` is called with the number of characters of each piece that is read.

    Raises:
        NotJson: the array is not JSON from some item on, or an item is too long; the items before were given.
        UnicodeDecodeError: the file is not UTF-8.
    """
    with path.open(encoding="utf-8-sig") as file:
        text = _Characters(file, read)
        text.take("[")
        mark = text.after_blank()
        while mark != "]":
            line = text.line
            value, escaped = text.value()
            yield line, value, escaped
            mark = text.after_blank()
            if mark != "]":
                text.take(",")
                text.after_blank()
        text.take("]")
        if text.after_blank():
            raise NotJson(text.line, "not JSON: extra text after the array")


class _Characters:
    """A file's text from the current position on."""

    def __init__(self, file: IO[str], read: Callable[[int], None]) -> None:
        self._file, self._read = file, read
        self._held, self._at, self._ended = "", 0, False
        self.line = 1

    def after_blank(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            found = BLANK.match(self._held, self._at)
            assert found is not None, "it matches the empty string"
            self._move(found.end())
            if self._at < len(self._held) or not self._more(CHUNK):
                return self._held[self._at : self._at + 1]

    def take(self, mark: str) -> None:
        if self.after_blank() != mark:
            raise NotJson(self.line, f"not JSON: expected {mark}")
        self._move(self._at + 1)

    def value(self) -> tuple[Any, bool]:
        """The next value, and whether its text has escapes."""
        chunk = CHUNK
        while True:
            fault: ValueError | RecursionError
            try:
                value, end = parse_next(self._held, self._at)
                goes_on = isinstance(value, int | float) and self._held[end : end + 1] not in ENDS
                if not goes_on or not self._more(chunk):
                    escaped = self._held.find("\\u", self._at, end) >= 0
                    self._move(end)
                    return value, escaped
                continue
            except (ValueError, RecursionError) as error:
                fault = error
            if len(self._held) - self._at > MOST_BYTES:
                message = f"a record of more than {MOST_BYTES // 2**20} MB; leave out what tasks do not read"
                raise NotJson(self.line, message) from None
            if not isinstance(fault, json.JSONDecodeError) or not self._more(chunk):
                raise self._fault(fault)
            chunk *= 2

    def _fault(self, error: ValueError | RecursionError) -> NotJson:
        if isinstance(error, json.JSONDecodeError):
            line = self.line + self._held.count("\n", self._at, error.pos)
            return NotJson(line, f"not JSON: {error.msg}")
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return NotJson(self.line, f"not JSON: {message}")

    def _move(self, to: int) -> None:
        self.line += self._held.count("\n", self._at, to)
        self._at = to

    def _more(self, chunk: int) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        piece = self._file.read(chunk)
        self._read(len(piece))
        self._held, self._at = self._held[self._at :] + piece, 0
        self._ended = not piece
        return bool(piece)
