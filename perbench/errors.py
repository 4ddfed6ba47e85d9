"""Errors that a user can act on: what is wrong, where, and what to do. The CLI has their exit codes."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


class PerbenchError(Exception):
    """An error that the user can act on; the message names the place and what to do. Exit code 2."""

    exit_code = 2


class NotThere(PerbenchError):
    """Something that is not on this machine: `what`, and the `way_out`, which may be that of others too."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}; {way_out}")
        self.what, self.way_out = what, way_out


class CellError(PerbenchError):
    """One cell of a matrix failed; the others continue. Exit code 1."""

    exit_code = 1


class MetricAbsent(Exception):
    """A metric's data is not on this machine; the message holds the command that installs it."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of a disk that cannot be written, whatever the file."""


def no_room(error: OSError) -> str:
    """The message for a NO_ROOM error; mostly without a file, which a write does not know."""
    place = f"{error.filename}: " if error.filename is not None else ""
    return (
        f"{place}{error.strerror}: free some space, or write elsewhere: --out DIR for results, the "
        "environment variable PERBENCH_CACHE=DIR for the cache"
    )


@dataclass(frozen=True)
class Problem:
    """One fault in a spec file; `line` is 1-based, or None if unknown."""

    path: Path | str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.message}"


class SpecError(PerbenchError):
    """All faults of one or several spec files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


MOST_NAMES = 20


def suggest(name: str, known: Iterable[str]) -> str:
    """' Did you mean 'x'? There are: a, b.': the end of every unknown-name message. Long lists are cut to the
    first MOST_NAMES, with a count of the rest."""
    names = list(known)
    close = closest(name, names)
    hint = f" Did you mean {close!r}?" if close else ""
    return f"{hint} There are: {listed(names)}."


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` may be a misspelling or, like "lr" of "learning_rate", the initials of."""
    names = sorted(known)
    short = [one for one in names if len(words := re.split(r"[\W_]+", one)) > 1 and _initials(words) == name]
    return next(iter(short or get_close_matches(name, names, 1, cutoff=0.5)), None)


def _initials(words: Iterable[str]) -> str:
    return "".join(word[:1] for word in words)


def listed(known: Iterable[str]) -> str:
    """Sorted names: the first MOST_NAMES, and a count of the rest."""
    names = sorted(known)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES]) or 'none'}{more}"
