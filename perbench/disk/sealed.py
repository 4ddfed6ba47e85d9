"""Seals: the sha256 in each JSON object that perbench writes, over its content and the place it belongs to.

A seal detects damage and mix-ups (a flipped bit, a line removed, copied or swapped, another cell's file). It
is not a signature: a forged file can be sealed again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perbench.disk.digests import canonical_digest, canonical_object, canonical_text, text_digest
from perbench.disk.files import Guard, append_journal, unguarded, write_json, write_text

SEAL = "sha256"
NOTHING: Mapping[str, str] = MappingProxyType({})
DIGEST = re.compile(r"[0-9a-f]{64}")


class Unsealed(ValueError):
    """A JSON object without a seal, for example from an older perbench. `value` is the object."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        super().__init__("damaged (without a seal)")


def seal(value: Mapping[str, Any], *place: Any) -> dict[str, Any]:
    """`value` with its seal as the last key, replacing any existing one. `place` is where it belongs (a
    cell's identity, a line number); it enters the seal but is not written.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    plain = json.loads(json.dumps({key: value[key] for key in value if key != SEAL}, allow_nan=False))
    return {**plain, SEAL: canonical_digest([*place, plain])}


def seal_holds(value: Mapping[str, Any], *place: Any, known: Mapping[str, str] = NOTHING) -> bool:
    """Whether a sealed value is unchanged and at its place. `known`: canonical texts of some of its values,
    by key."""
    plain = {key: value[key] for key in value if key != SEAL}
    try:
        whole = canonical_object(plain, known) if known else canonical_text(plain)
        texts = [*map(canonical_text, place), whole]
        return value.get(SEAL) == text_digest(f"[{','.join(texts)}]")
    except ValueError:  # NaN, which is never written
        return False


def write_sealed(path: Path, value: Mapping[str, Any], *place: Any, guard: Guard = unguarded) -> str:
    """Replace `path` by a sealed JSON object, durably.

    Returns: the seal, 64 hexadecimal digits.

    Raises:
        ValueError: the value holds NaN or an infinity.
        OSError: from the file system; `path` is then unchanged.
    """
    sealed = seal(value, *place)
    write_json(path, sealed, guard)
    return str(sealed[SEAL])


def open_sealed(path: Path, *place: Any) -> tuple[dict[str, Any], str]:
    """The object that `write_sealed` wrote for this place, without the seal; and the seal.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        Unsealed: a ValueError; it has no seal.
        ValueError: it is not what was written for this place; the message explains, without the path.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("damaged (not a JSON object)")
    if SEAL not in value:
        raise Unsealed(value)
    if not seal_holds(value, *place):
        raise ValueError("damaged (its content does not match its sha256)")
    return value, str(value.pop(SEAL))


def read_sealed(path: Path, *place: Any, expected: str | None = None) -> dict[str, Any]:
    """The object that `write_sealed` wrote for this place, without the seal. `expected`: the seal from
    `write_sealed`, if known. Raises as `open_sealed`, and ValueError if the seal is not the expected one."""
    value, found = open_sealed(path, *place)
    if expected not in (None, found):
        raise ValueError("not the file that was written here: its seal differs")
    return value


@dataclass(frozen=True)
class Lines:
    """The content of a sealed journal. `rows`: intact lines up to the first damaged one, without seals;
    `ends`: their ends in bytes; `torn`: bytes of a last line torn by a kill; `fault`: the number of the first
    damaged line, from 1, and its fault; `lost`: number of lines from there on; `later`: intact rows among
    those; `unsealed`: how many of `rows` an older perbench wrote."""

    rows: list[dict[str, Any]]
    ends: list[int]
    torn: int = 0
    fault: tuple[int, str] | None = None
    lost: int = 0
    later: tuple[dict[str, Any], ...] = ()
    unsealed: int = 0


class SealedJournal:
    """A JSONL file whose lines are sealed by `owner` and their number. Unsealed lines of an older perbench
    are accepted at the start. `guard` is called before every write."""

    def __init__(self, path: Path, owner: str, guard: Guard = unguarded) -> None:
        self.path = path
        self._owner = owner
        self.guard = guard
        self._count: int | None = None

    def read(self) -> Lines:
        """
        Raises:
            OSError: the file cannot be read, such as a folder. An absent file is empty.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return Lines([], [])
        lines = content.split(b"\n")
        torn = len(lines.pop())
        rows: list[dict[str, Any]] = []
        later: list[dict[str, Any]] = []
        ends: list[int] = []
        fault: tuple[int, str] | None = None
        end, unsealed, sealed = 0, 0, False
        for place, line in enumerate(lines):
            end += len(line) + 1
            row = _parsed(line)
            if row is not None and SEAL in row:
                sealed, right = True, seal_holds(row, self._owner, place)
            else:
                right = row is not None and not sealed and not _had_seal(row)
                unsealed += right and fault is None
            if not right or row is None:
                if row is None and fault is None and place == len(lines) - 1 and not torn:
                    torn = len(line) + 1  # a partly written page that ends with a newline
                    break
                wrong = "not a JSON object" if row is None else "not what was written there"
                fault = fault or (place + 1, wrong)
                continue
            row.pop(SEAL, None)
            if fault is None:
                rows.append(row)
                ends.append(end)
            else:
                later.append(row)
        self._count = len(rows)
        return Lines(rows, ends, torn, fault, len(lines) - len(rows) if fault else 0, tuple(later), unsealed)

    def cut(self, found: Lines, count: int | None = None) -> None:
        """Truncate the file to the first `count` of the rows found (default: all intact ones)."""
        count = len(found.rows) if count is None else count
        with self.path.open("r+b") as file:
            self.guard()
            file.truncate(found.ends[count - 1] if count else 0)
            os.fsync(file.fileno())
        self._count = count

    def rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the whole content by these rows, sealed again."""
        self.guard()
        sealed = [seal(row, self._owner, place) for place, row in enumerate(rows)]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in sealed), self.guard)
        self._count = len(rows)

    def append(self, rows: Sequence[Mapping[str, Any]], *, durable: bool = True) -> None:
        """Append sealed lines; `durable` and OSError as in `append_journal`."""
        self.guard()
        if self._count is None and ((found := self.read()).torn or found.fault):
            self.cut(found)
        first = self._count or 0
        sealed = [seal(row, self._owner, first + i) for i, row in enumerate(rows)]
        append_journal(self.path, sealed, durable=durable, guard=self.guard)
        self._count = first + len(rows)

    def flush(self) -> None:
        """Make all appended lines durable."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _had_seal(row: dict[str, Any]) -> bool:
    """Whether the last value looks like a seal under a damaged name."""
    last = row[next(reversed(row))] if row else None
    return isinstance(last, str) and DIGEST.fullmatch(last) is not None
