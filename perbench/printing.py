"""What reaches a terminal: text from models, servers, data and files can neither drive it nor reorder lines.

Two choke points: `guarded` for what is printed plainly (the command line puts it around stdout and stderr),
`console` for what rich draws. Both apply `printable`; callers need not.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 200
"""Columns where there is neither a terminal to ask nor COLUMNS."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move a cursor, change colours, reorder text, break lines or are not seen."""
KEPT = frozenset("\n\t\u200c\u200d")
"""Of these, what text needs: ends of lines, tabs, and the joiners of emoji and of Persian."""


def printable(text: str) -> str:
    r"""`text` with every character that a reader would not see, or that would act on a terminal (control
    characters, escapes, bidi controls, half surrogates), as \uXXXX: harmless, visible, and in JSON the same
    value, so that JSON stays valid."""
    if text.isprintable():
        return text
    return "".join(
        _escaped(char) if unicodedata.category(char) in HIDDEN and char not in KEPT else char for char in text
    )


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class Guarded:
    """A text stream that writes only what is printable. `stream` is the one below; all else is its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guarded(stream: TextIO) -> TextIO:
    """`stream` as one that writes what is printable."""
    return stream if isinstance(stream, Guarded) else cast(TextIO, Guarded(stream))


@contextmanager
def guarded_streams() -> Iterator[None]:
    """stdout and stderr, guarded for the duration of the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(guarded, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def console(stream: TextIO | None = None, **options: Any) -> Console:
    """A rich console on `stream` (default: stdout) that draws what is printable, as wide as the terminal or
    COLUMNS says, else PIPED_WIDTH. `NO_COLOR` is honoured. `options` are rich's own."""
    from rich.console import Console
    from rich.segment import Segment

    class Printable(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    stream = stream if stream is not None else sys.stdout
    # rich writes escapes of its own, so it gets the stream below.
    bare = stream.stream if isinstance(stream, Guarded) else stream
    given = {"width": _piped_width(bare), "no_color": "NO_COLOR" in os.environ, **options}
    return Printable(file=bare, highlight=False, markup=False, emoji=False, **given)


def _piped_width(stream: TextIO) -> int | None:
    """None: rich asks the terminal, or COLUMNS."""
    if stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdigit() and int(given) > 0 else PIPED_WIDTH
