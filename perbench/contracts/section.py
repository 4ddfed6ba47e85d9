"""A section of the results: tables and charts for page, terminal and JSON. One file `sections/NAME.py`, or a
folder with its own section.html."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from perbench.contracts.chart import Chart, Empty
from perbench.contracts.results import Flag, Loaded, Matrix
from perbench.stats.paired import Estimate
from perbench.store.record import Better, CellRecord

if TYPE_CHECKING:
    from rich.console import Console

Samples = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Value:
    """A table cell: a number, or `text` instead ("failed", "no record"). With both, the text is shown ("12
    s") and the number sorts.

    `records` are the cells behind a number, by seed; it links to the first. `gain` is over the baseline;
    `versus` is "" without a comparison. `better` determines the gain's mark.
    """

    value: float | None = None
    ci: tuple[float, float] | None = None
    """A 95% interval."""
    ci_aside: str = ""
    """Why there is no interval, or that it is over few users."""
    digits: int = 3
    """Decimals shown."""
    text: str = ""
    aside: str = ""
    """Text beside `text`: what failed."""
    n: int | None = None
    missing: int = 0
    flags: tuple[Flag, ...] = ()
    records: tuple[CellRecord, ...] = ()
    versus: Literal["", "baseline", "gain", "none"] = ""
    gain: Estimate | None = None
    rank: tuple[int, int] | None = None
    """As in `Outcome.rank`."""
    better: Better | None = "higher"
    own: bool = False
    """Trained on the same task as evaluated."""
    is_gain: bool = False
    """The value is the gain itself, which has no score beside it."""

    @property
    def verdict(self) -> Literal["up", "down", ""]:
        """Whether the gain is for the better; "" without a gain, or if neither direction is better."""
        if self.gain is None or not self.gain.value or self.better is None:
            return ""
        return "up" if (self.gain.value > 0) == (self.better == "higher") else "down"


@dataclass(frozen=True)
class RowHead:
    """The heading of a row. `trained_on` is a task, "" for a base model, None if the row is not a trained
    model; adjacent rows of one `group` stay together. `reported` is the source of numbers that were not
    measured here, such as "PerCE Table 1"."""

    name: str
    variation: str = ""
    detail: str = ""
    trained_on: str | None = None
    model: str | None = None
    model_label: str | None = None
    seed: int | None = None
    flags: tuple[Flag, ...] = ()
    group: tuple[str, ...] = ()
    reported: str = ""


@dataclass(frozen=True)
class ColumnHead:
    """`metric` is given if `name` is a task's; `apart` as in `TargetColumn`; `sizes` describes the samples
    behind its values, `visible` is the smallest gain that they would usually show, `notes` are caveats of all
    values. In a terminal, a `minor` column is shown only by
    `perbench leaderboard show`."""

    name: str
    apart: str = ""
    metric: str = ""
    sizes: str = ""
    visible: float | None = None
    notes: tuple[str, ...] = ()
    minor: bool = False

    @property
    def title(self) -> str:
        return " · ".join(filter(None, (self.name, self.apart)))


@dataclass(frozen=True)
class Table:
    """`target` and `apart` as in `TargetColumn`, if all values are of one task.

    `caption` is a few words, `explanation` an addition on pages. `notes` are caveats shown with the caption,
    `remarks` are listed below all tables in a terminal, which shows a `compact` table without intervals and
    flags, and a `minor` one only in `perbench leaderboard show`. At the end of a run, the first table that is
    no `summary` is printed, and a summary above it if there is room for both.
    """

    caption: str
    first: str
    """The heading of the row heads."""
    columns: tuple[ColumnHead, ...]
    rows: tuple[tuple[RowHead, tuple[Value | str, ...]], ...]
    target: str = ""
    apart: str = ""
    explanation: str = ""
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    signature: str = ""
    compact: bool = False
    minor: bool = False
    summary: bool = False

    def __post_init__(self) -> None:
        for head, values in self.rows:
            if len(values) != len(self.columns):
                raise ValueError(
                    f"row {head.name!r} has {len(values)} values for {len(self.columns)} columns"
                )

    @property
    def title(self) -> str:
        """ "longlamp/pag · 8 examples"."""
        return " · ".join(filter(None, (self.target, self.apart)))

    @property
    def reported(self) -> bool:
        """Whether some numbers were not measured here."""
        return any(head.reported for head, _ in self.rows)

    @property
    def numbers(self) -> list[list[Value]]:
        """The cells of each column that hold a number."""
        columns: list[list[Value]] = [[] for _ in self.columns]
        for _, values in self.rows:
            for column, value in zip(columns, values, strict=True):
                if isinstance(value, Value) and value.value is not None:
                    column.append(value)
        return columns


Block = Table | Chart | Empty
"""What a section shows. A terminal shows tables, and an `Empty` if asked for its section."""


class Reading(ABC):
    """Stored samples of some cells, for reading."""

    @abstractmethod
    def page(self) -> str:
        """The HTML of one self-contained page (`perbench.site.templates.render_page`)."""

    @abstractmethod
    def show(self, count: int, console: Console) -> None:
        """Print the `count` worst samples of each cell."""


class Section(ABC):
    """A section named as its file; it is hidden if it has no blocks."""

    title: ClassVar[str] = ""
    """The heading; default: the name."""
    order: ClassVar[int] = 50
    """Position among sections; the built-in ones have 5, 10, 15, 20, 25, 27, 30 and 40."""
    page: ClassVar[str] = ""
    """The page that shows it: "index" is the first one; default: a page of its own, named as the section."""
    baseline: ClassVar[str | None] = None
    """The trainer against which gains are measured if no matrix names one."""

    @abstractmethod
    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        """The tables and charts of these results, in order; pure."""

    def verdict(self, loaded: Loaded, matrix: Matrix) -> Sequence[str]:
        """What its own page opens with: sentences from tests alone, the answer first."""
        return ()

    def reading(self, cells: Sequence[tuple[CellRecord, Samples]]) -> Reading | None:
        """Cells' stored samples for reading (`perbench identify --html`, `--show`); None: not its cells."""
        return None
