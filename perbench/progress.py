"""Progress of a run: bars on a terminal, a few plain lines elsewhere. Writes to stderr only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from perbench.printing import console, guarded, guarded_streams

if TYPE_CHECKING:
    from perbench.engines.base import Tick

LINES = 10
"""Plain lines of one cell, beside the one at its first unit: one for each such part of it that is done."""


class Progress:
    """Shows the whole run (`cells` in all) and the running cell.

    On a terminal two bars with the time left; elsewhere plain lines. `NO_COLOR` is honoured.
    """

    def __init__(self, cells: int, stream: TextIO | None = None) -> None:
        self._cells = cells
        self._done = 0
        self._stream = guarded(stream if stream is not None else sys.stderr)
        self._bars: Any = None
        self._whole: Any = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show the bars for the duration of the block."""
        if not _is_terminal(self._stream):
            yield self
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console(self._stream),
        )
        # While bars are shown, rich takes stdout and stderr and would follow the escapes printed there.
        with self._bars, guarded_streams():
            self._whole = self._bars.add_task("all cells", total=self._cells, figures="")
            yield self
        self._bars = None

    def say(self, message: str) -> None:
        """One line, above the bars."""
        if self._bars is not None:
            self._bars.console.print(message)
        else:
            print(message, file=self._stream, flush=True)

    @contextmanager
    def cell(self, name: str) -> Iterator[Tick]:
        """Show one cell; yields the callback for its units. The cell counts as done when the block ends,
        in whatever way."""
        started = time.monotonic()
        tick: Tick
        number = f"[{self._done + 1}/{self._cells}]"
        if self._bars is not None:
            task = self._bars.add_task(name, total=None, figures="")

            def tick(done: int, total: int, figures: dict[str, float]) -> None:
                self._bars.update(task, completed=done, total=total, figures=_figures(figures))
                self._bars.update(self._whole, completed=self._done + done / max(total, 1))
        else:
            self.say(f"{number} {name}")
            tick = _plain(lambda line: self.say(f"{number} {line}"), started)
        try:
            yield tick
        finally:
            self._done += 1
            if self._bars is not None:
                self._bars.remove_task(task)
                self._bars.update(self._whole, completed=self._done)
                self.say(f"{number} {name}: {duration(time.monotonic() - started)}")


def _plain(say: Callable[[str], None], started: float) -> Tick:
    shown = -1

    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        nonlocal shown
        part = done * LINES // total if total else LINES
        if part > shown:
            shown = part
            spent = time.monotonic() - started
            left = f", about {duration(spent * (total - done) / done)} left" if 0 < done < total else ""
            tail = f", {_figures(figures)}" if figures else ""
            say(f"  {done}/{total} in {duration(spent)}{left}{tail}")

    return tick


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {value:,.0f}" if value >= 100 else f"{name} {value:.3g}" for name, value in figures.items()
    )


def counted(count: int, noun: str) -> str:
    """1, "cell" -> "1 cell"; 2000, "cell" -> "2,000 cells"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """1.26 -> "1.3 s", 12.3 -> "12 s", 75 -> "1 min 15 s", 7260 -> "2 h 1 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
