"""Sums a plan of many cells up: by kind, model, method, source and target, and why cells run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perbench.console.printing import printable
from perbench.matrix.cells import made_by
from perbench.progress import counted, duration
from perbench.store import Labels

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    from perbench.matrix.estimate import CellEstimate
    from perbench.matrix.plan import Action, Plan, Step

SHOWN = 12
"""Most lines of a group; the rest are summed up in one."""
WIDEST = 44
"""Columns of a name; longer ones are folded."""
ACTIONS: Mapping[Action, str] = {"reuse": "reused", "resume": "resumed", "run": "to run"}
GROUPS: Mapping[str, Callable[[Labels], str | None]] = {
    "model": lambda labels: labels.model,
    "method": made_by,
    "source": lambda labels: labels.source,
    "target": lambda labels: labels.target,
}


@dataclass
class Sum:
    """Of some cells; `tokens` and `seconds` are those still to be spent, as far as they are known; of
    `uncounted` cells the tokens are unknown, of `untimed` ones the seconds."""

    actions: Counter[Action]
    tokens: int = 0
    exact: bool = True
    seconds: float = 0.0
    uncounted: int = 0
    untimed: int = 0

    @property
    def todo(self) -> int:
        return self.actions.total() - self.actions["reuse"]

    def add(self, step: Step, estimate: CellEstimate | None) -> None:
        self.actions[step.action] += 1
        if estimate is not None:
            self.tokens += estimate.tokens or 0
            self.uncounted += estimate.tokens is None
            self.exact &= estimate.exact or estimate.tokens is None
            self.seconds += estimate.seconds or 0.0
            self.untimed += estimate.seconds is None

    def merge(self, other: Sum) -> None:
        self.actions += other.actions
        self.tokens += other.tokens
        self.exact &= other.exact
        self.seconds += other.seconds
        self.uncounted += other.uncounted
        self.untimed += other.untimed


def sums(plan: Plan, estimates: Sequence[CellEstimate | None]) -> dict[str, dict[str, Sum]]:
    """By group and name, in the plan's order; "kind" first; "why", the reasons not to reuse a cell, last, the
    most frequent first."""
    groups: dict[str, dict[str, Sum]] = {"kind": {}, **{group: {} for group in GROUPS}, "why": {}}
    for step, estimate in zip(plan.steps, estimates, strict=True):
        names = {group: name(step.cell.labels) for group, name in GROUPS.items()}
        for group, found in {"kind": step.cell.kind, **names, "why": _why(step)}.items():
            if found is not None:
                groups[group].setdefault(found, Sum(Counter())).add(step, estimate)
    order = sorted(groups["why"].items(), key=lambda named: -named[1].actions.total())
    return {**groups, "why": dict(order)}


def _why(step: Step) -> str | None:
    """The reason, without what only one cell has."""
    if step.damage is not None:
        return "damaged"
    if step.action == "reuse":
        return None
    return "begun" if step.action == "resume" else step.reason


BREAKS = re.compile(r"(?<=\s)(?=\S)|(?<=\.)(?=[^\W\d])|(?<=/)(?=\w)")


@dataclass(frozen=True)
class Breakable:
    """Text in a table that breaks after the dots and slashes of long names, too, and not within words."""

    text: str

    @property
    def parts(self) -> list[str]:
        return BREAKS.split(printable(self.text))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        longest = max(cell_len(part.rstrip()) for part in self.parts)
        return Measurement(longest, cell_len(printable(self.text))).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.cells import cell_len
        from rich.text import Text

        lines = [""]
        for part in self.parts:
            if lines[-1] and cell_len(f"{lines[-1]}{part}".rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += part
        for line in lines:
            yield Text(line.rstrip(), overflow="fold")


def summary_table(plan: Plan, estimates: Sequence[CellEstimate | None]) -> Table:
    """A line for each name; actions that no cell has are left out."""
    from rich import box
    from rich.table import Table

    there = Counter(step.action for step in plan.steps)
    shown = {action: head for action, head in ACTIONS.items() if there[action]}
    columns: Mapping[Action, str] = shown if len(shown) > 1 else {}  # of one kind all cells are
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("by")
    table.add_column("", overflow="fold", max_width=WIDEST)
    for head in ("cells", *columns.values(), *(("tokens", "time") if plan.todo else ())):
        table.add_column(head, justify="right", no_wrap=True)
    for group, found in sums(plan, estimates).items():
        if len(found) < 2 and (group in GROUPS or "no record" in found):  # one model says nothing
            continue
        lines = _shortened(found)
        for place, (name, one) in enumerate(lines):
            table.add_row(
                "" if place else group,
                Breakable(name) if group == "why" else name,
                *_cells(one, list(columns)),
                *_cost(one, plan),
                end_section=place == len(lines) - 1,
            )
    return table


def _shortened(found: Mapping[str, Sum]) -> list[tuple[str, Sum]]:
    lines = list(found.items())
    if len(lines) <= SHOWN:
        return lines
    rest = Sum(Counter())
    for _, one in lines[SHOWN - 1 :]:
        rest.merge(one)
    return [*lines[: SHOWN - 1], (f"… {counted(len(lines) - SHOWN + 1, 'other')}", rest)]


def _cells(one: Sum, actions: Sequence[Action]) -> list[str]:
    return [f"{one.actions.total():,}", *(f"{one.actions[action]:,}" for action in actions)]


def _cost(one: Sum, plan: Plan) -> list[str]:
    if not one.todo:
        return ["", ""] if plan.todo else []
    tokens = f"{'' if one.exact else '~'}{short(one.tokens)}"
    return [
        _at_least(tokens, one.uncounted, one.todo),
        _at_least(f"~{duration(one.seconds)}", one.untimed, one.todo),
    ]


def _at_least(known: str, unknown: int, of: int) -> str:
    """A sum that lacks the `unknown` ones `of` so many cells."""
    return "unknown" if unknown == of else f"{'≥ ' if unknown else ''}{known}"


def short(count: int) -> str:
    """ "987", "12.3k", "4.56M", "1.2B": three digits."""
    size = float(count)
    for unit in ("", "k", "M", "B", "T"):
        if size < 999.5 or unit == "T":
            break
        size /= 1000
    digits = 0 if not unit else 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{size:.{digits}f}{unit}"
