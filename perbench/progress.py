"""Progress of a run on stderr: bars on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

from perbench.console.printing import console, folded, guarded, guarded_streams, printable

if TYPE_CHECKING:
    from rich.console import Console

Tick = Callable[[int, int, dict[str, float]], None]
"""Progress callback: (units done, total units, figures such as {"loss": 2.1, "tok/s": 800.0})."""

LINES = 10
"""Plain lines of a cell after the first unit's, one per tenth."""


@dataclass
class RunningCell:
    """A cell while it is shown; called with its units."""

    tick: Tick
    result: str | None = ""

    def ends(self, result: str | None) -> None:
        """Set the result to show at the cell's end; None shows none."""
        self.result = result

    def __call__(self, done: int, total: int, figures: dict[str, float]) -> None:
        self.tick(done, total, figures)


class Progress:
    """Shows the whole run (`cells` in all), the running cell, and those of other processes.

    On a terminal: the cell's name and two bars with the time left, and a line per other process; elsewhere
    plain lines of what begins and ends.
    """

    def __init__(self, cells: int, stream: TextIO | None = None) -> None:
        self._cells = cells
        self._done = 0
        self._part = 0.0
        self._since: dict[tuple[str, str], float] = {}
        self._stream = guarded(stream if stream is not None else sys.stderr)
        self._bars: Any = None
        self._whole: Any = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show the bars during the block."""
        if not _is_terminal(self._stream):
            yield self
            return
        self._bars = _bars(console(self._stream))
        # rich takes over stdout and stderr while bars are shown, and would obey escapes.
        with self._bars, guarded_streams():
            self._whole = self._bars.add_task("all cells", total=self._cells, whole=0, figures="", name="")
            yield self
        self._bars = None

    def say(self, message: str) -> None:
        """Print one line above the bars, folded between words on a terminal."""
        if self._bars is not None:
            bars = self._bars.console
            bars.print(folded(printable(message), bars.width), soft_wrap=True)
        else:
            print(message, file=self._stream, flush=True)

    @contextmanager
    def cell(self, name: str) -> Iterator[RunningCell]:
        """Show one cell. It counts as done when the block ends or fails, but not when it is interrupted."""
        started = time.monotonic()
        number = f"[{self._done + 1}/{self._cells}]"
        if self._bars is not None:
            running = RunningCell(self._on_bars(printable(name)))
        else:
            self.say(f"{number} {name}")
            running = RunningCell(_plain(lambda line: self.say(f"{number} {line}"), started))
        try:
            yield running
        except Exception:
            self._end()
            raise
        self._end()
        if self._bars is not None and running.result is not None:
            spent = duration(time.monotonic() - started)
            result = ", ".join(filter(None, (running.result, spent)))
            room = self._bars.console.width - len(f"{number} {name}: ")
            self.say(
                f"{number} {name}: {result}" if len(result) <= room else f"{number} {name}\n    {result}"
            )
        elif running.result:
            self.say(f"{number}   {running.result}")

    def finished(self, name: str, result: str | None) -> None:
        """Count a cell that another process has finished, and show it unless `result` is None."""
        self._done += 1
        if result is not None:
            self.say(f"[{self._done}/{self._cells}] {name}{f': {result}' if result else ''}")
        self._advance()

    def begin(self) -> None:
        """Count time from now: what was finished before says nothing of what is left."""
        if self._bars is not None:
            fields = {"whole": self._done, "figures": "", "name": ""}  # reset drops those not given
            self._bars.reset(self._whole, completed=self._done, **fields)

    def crew(self, rows: Sequence[tuple[str, str, int, int]]) -> None:
        """On a terminal, show what other processes work on: (worker, cell, units done, of how many)."""
        if self._bars is None:
            return
        now = time.monotonic()
        self._since = {row[:2]: self._since.get(row[:2], now) for row in rows}
        self._bars.crew = [(*row, now - self._since[row[:2]]) for row in rows]
        self._advance()

    def _advance(self) -> None:
        if self._bars is not None:
            parts = sum(done / total for _, _, done, total, _ in self._bars.crew if total)
            part = min(self._done + self._part + parts, self._cells)
            self._bars.update(self._whole, completed=part, whole=self._done)

    def _on_bars(self, name: str) -> Tick:
        task = self._bars.add_task("this cell", total=None, figures="", name=name)

        def tick(done: int, total: int, figures: dict[str, float]) -> None:
            room = self._bars.console.width - BESIDE - 2 * len(f"{total:,}")
            self._bars.update(task, completed=done, total=total, figures=_fitting(figures, room))
            self._part = done / max(total, 1)
            self._advance()

        return tick

    def _end(self) -> None:
        self._done += 1
        self._part = 0.0
        if self._bars is not None:
            self._bars.remove_task(self._bars.task_ids[-1])
            self._advance()


PERIOD = 600.0
"""Seconds of the past from which the time left is estimated."""
BESIDE_CREW = 6
"""Lines of a terminal that are not for other processes."""
BAR = 20
BESIDE = 9 + BAR + len("/ 0:00:00 left 0:00:00") + 8
"""Columns of a bar's line without its counts and figures."""


def shortened(text: str, room: int) -> str:
    """At most `room` characters of a text: its beginning and twice as much of its end."""
    if len(text) <= room:
        return text
    start = max(room - 1, 0) // 3
    return f"{text[:start]}…{text[len(text) - max(room - 1 - start, 0) :]}"


def _bars(console: Console) -> Any:
    """A line per other process, the running cell's name and bar, and below them the bar of all cells."""
    from rich import progress as rich
    from rich.table import Table
    from rich.text import Text

    class Shortened(Text):
        """The name of a cell without its middle where room is short: names differ at their ends."""

        def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
            yield Text(shortened(self.plain, options.max_width), no_wrap=True, overflow="ellipsis")

    class NamedBars(rich.Progress):
        crew: Sequence[tuple[str, str, int, int, float]] = ()
        """Of each other process: worker, cell, units done, of how many, seconds since it was seen first."""

        def get_renderables(self) -> Iterator[Any]:
            if self.crew:
                yield from self._crew()
            for task in self.tasks[1:]:
                yield Shortened(task.fields["name"])
            yield self.make_tasks_table([*self.tasks[1:], *self.tasks[:1]])

        def _crew(self) -> Iterator[Any]:
            room = max(1, self.console.height - BESIDE_CREW)
            table = Table.grid(padding=(0, 2, 0, 0), expand=True)
            table.add_column(no_wrap=True, max_width=self.console.width // 4)
            table.add_column(no_wrap=True, justify="right")
            table.add_column(no_wrap=True, justify="right")
            table.add_column(no_wrap=True, ratio=1)
            for worker, name, done, total, seconds in self.crew[:room]:
                part = f"{done:,}/{total:,}" if total else "starting"
                clock = str(timedelta(seconds=int(seconds)))
                table.add_row(printable(worker), part, clock, Shortened(printable(name)))
            yield table
            if len(self.crew) > room:
                yield Text(f"and {len(self.crew) - room} more")

    class Count(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            if task.total is None:
                return Text("starting")
            return Text(f"{task.fields.get('whole', int(task.completed)):,}/{int(task.total):,}")

    class Left(rich.TimeRemainingColumn):
        def render(self, task: rich.Task) -> Text:
            known = task.total is not None and task.time_remaining is not None
            return Text("left ") + super().render(task) if known else Text()

    return NamedBars(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(BAR),
        Count(),
        rich.TimeElapsedColumn(),
        Left(),
        rich.TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        transient=True,
        refresh_per_second=4,
        speed_estimate_period=PERIOD,
    )


def _fitting(figures: Mapping[str, float], room: int) -> str:
    """The first figures that fit `room` columns."""
    shown = dict(figures)
    while shown and len(_figures(shown)) > room:
        shown.popitem()
    return _figures(shown)


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
    return printable(
        ", ".join(
            f"{name} {value:,.0f}" if value >= 100 else f"{name} {value:.3g}"
            for name, value in figures.items()
        )
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
