"""Makes terminal output safe: foreign text can neither control the terminal nor reorder lines.

There are two entry points: `guarded` for plain printing (the command line wraps stdout and stderr in it) and
`console` for rich. Both apply `printable`; callers need not.
"""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

NARROW = 80
"""Columns without COLUMNS and a terminal that reports its width."""
INDENT = 4
COLUMN = re.compile(r" *\S+ {2,}(?=\S)")
LEAD = re.compile(r"(?:\b(?:next|to go on):|->) (?=(?:perbench|pip) )")

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move the cursor, change colours, reorder text, break lines or are invisible."""
KEPT = frozenset("\n\t\u200c\u200d")
"""Exceptions: line ends, tabs, and the joiners used by emoji and Persian."""


def printable(text: str) -> str:
    r"""`text` with every character that is invisible or would act on a terminal (control characters, escapes,
    bidi controls, lone surrogates) as \uXXXX: harmless, visible and still valid in JSON, where it is the same
    value."""
    if text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in HIDDEN and char not in KEPT else char for char in text
    )


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def folded(text: str, width: int) -> str:
    """Each line of `text` longer than `width`, broken between words. Continuation lines are indented, those
    of two-column lines to the second column. Longer words stay whole, and so do commands to go on with, on a
    line of their own, so that they can be pasted."""
    return "\n".join(line if len(line) <= width else _fold(line, width) for line in text.split("\n"))


def _fold(line: str, width: int) -> str:
    if lead := LEAD.search(line):
        before, command = line[: lead.end()].rstrip(), line[lead.end() :]
        return f"{folded(before, width)}\n{' ' * INDENT}{command}"
    first = COLUMN.match(line)
    indent = len(first[0]) if first else len(line) - len(line.lstrip()) + INDENT
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * (indent if indent <= width // 2 else INDENT),
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(line: str) -> None:
    """Show a line to people, at once."""
    print(line, file=sys.stderr, flush=True)


class Guarded:
    """A text stream that makes its output printable; other attributes are those of the wrapped `stream`.

    On a terminal, long lines are folded between words unless `fold` is false, as for JSON. `optional`: if the
    reader closes the stream, the rest is discarded instead of raising.
    """

    def __init__(self, stream: TextIO, *, optional: bool = False) -> None:
        self.stream = stream
        self.fold = stream.isatty()
        self._optional = optional

    def write(self, text: str) -> int:
        shown = printable(text)
        try:
            self.stream.write(folded(shown, columns(self.stream)) if self.fold else shown)
        except BrokenPipeError:
            if not self._optional:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guarded(stream: TextIO, *, optional: bool = False) -> TextIO:
    """`stream` wrapped in `Guarded`."""
    return stream if isinstance(stream, Guarded) else cast(TextIO, Guarded(stream, optional=optional))


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard stdout and stderr during the block; stderr is optional. A stream that was closed at process start
    (a daemon's) discards its output."""
    before = sys.stdout, sys.stderr
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # else a file opened later would get this descriptor, and libraries' output
    with open(number, "w", encoding="utf-8") as nowhere:
        for stream in before:
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")  # the locale may lack characters
        sys.stdout = guarded(before[0] or nowhere)
        sys.stderr = guarded(before[1] or nowhere, optional=True)  # a run continues without its progress
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def keep_lines() -> None:
    """Disable folding on stdout from now on, for JSON."""
    if isinstance(sys.stdout, Guarded):
        sys.stdout.fold = False


def console(stream: TextIO | None = None, **options: Any) -> Console:
    """A rich console on `stream` (default: stdout) with printable output, as wide as `columns` says.
    `NO_COLOR` is honoured; `options` are rich's own.

    Pass strings: they are made printable before layout and are never parsed as markup. A rich Text is laid
    out first, so escapes may make its lines too long.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Printable(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    stream = stream if stream is not None else sys.stdout
    # rich writes its own escapes, so it needs the unwrapped stream.
    bare = stream.stream if isinstance(stream, Guarded) else stream
    width = None if bare.isatty() else columns(bare)  # a terminal's may change meanwhile
    given = {"width": width, "no_color": "NO_COLOR" in os.environ, **options}
    return Printable(file=bare, highlight=False, markup=False, emoji=False, **given)


def columns(stream: TextIO) -> int:
    """The width from COLUMNS; else of the stream's terminal, or, in a pipe, of that from which the command
    was started, where a pager shows it; else NARROW."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        own = [stream.fileno()] if stream.isatty() else [2, 0]
    except (OSError, ValueError):
        own = []
    for number in own:
        with suppress(OSError):
            return os.get_terminal_size(number).columns or NARROW
    return NARROW
