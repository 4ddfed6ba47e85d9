"""Sites of thousands of cells: long tables are divided into pages of their own, by model or by source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from perbench.contracts.chart import Chart, Empty
from perbench.contracts.section import Block, RowHead, Table, Value
from perbench.progress import counted
from perbench.site.comparisons import WinLoss
from perbench.site.view import ShownSection, SiteView

CELLS = 5000
"""Cells above which a site is split: its first page would take more than a second to open."""
LONG = 1000
"""Values of a table above which it is divided in such a site."""
MOST_PANELS = 48
"""Of a chart in such a site, if a table has its numbers."""
LACKS = (
    f"Above {CELLS:,} cells, these are left out: pages of single samples with their texts, Compare, and "
    "shaded tokens (--shade); build pages of fewer runs to have them."
)
"""Said of such a site, on its first page and by the command."""
Item = TypeVar("Item")
Row = tuple[RowHead, tuple[Value | str, ...]]


@dataclass(frozen=True)
class PartPage:
    """Some rows of a table, on a page of their own. `counts`: how many gains of each column remain after the
    correction, for the better and for the worse; `tally` is of all of them."""

    label: str
    page: str
    section: ShownSection
    siblings: Sequence[PartPage]
    tally: WinLoss
    counts: tuple[tuple[int, int, int], ...]

    @property
    def table(self) -> Table:
        return self.section.tables[0]

    @property
    def id(self) -> str:
        """Of the table on its page."""
        return f"{self.section.name}-1"


class Split:
    """The long tables of a view with the pages that hold their rows; none in a view of few cells."""

    def __init__(self, view: SiteView) -> None:
        self.large = len(view.entries) > CELLS
        self._parts: dict[str, list[PartPage]] = {}
        for section in view.sections if self.large else ():
            for table in section.tables:
                if len(table.rows) * len(table.columns) > LONG:
                    self._divide(section, table)

    def _divide(self, section: ShownSection, table: Table) -> None:
        number, found = section.number_of(table), divided(table.rows, _model, _source)
        if len(found) < 2:
            return
        parts: list[PartPage] = []
        for place, (label, rows) in enumerate(found.items(), 1):
            name = f"{section.name}-{number}-{place}"
            one = replace(table, rows=tuple(rows), explanation="")
            own = replace(
                section, name=name, blocks=(one,), part_of=section.name, files=f"data/{section.name}-{number}"
            )
            parts.append(PartPage(label, f"{name}.html", own, parts, *_counts(label, one)))
        self._parts[f"{section.name}-{number}"] = parts

    @staticmethod
    def tested(parts: Sequence[PartPage]) -> list[int]:
        """The places of the columns in which some part has a test."""
        return [
            place
            for place, counts in enumerate(zip(*(part.counts for part in parts), strict=True))
            if any(tests for _, _, tests in counts)
        ]

    @property
    def parts(self) -> Iterator[PartPage]:
        for found in self._parts.values():
            yield from found

    def of(self, section: ShownSection, table: Table) -> list[PartPage]:
        """The parts of a table; none if it is whole."""
        return self._parts.get(f"{section.name}-{section.number_of(table)}", []) if self._parts else []

    def whole(self, section: ShownSection) -> ShownSection:
        """The section as its own page shows it: without charts of too many panels, and in the common form if
        a table of it is divided."""
        if not self.large:
            return section
        blocks = tuple(one for one in section.blocks if not _crowded(one))
        if count := sum(
            len(one.panels) for one in section.blocks if isinstance(one, Chart) and _crowded(one)
        ):
            blocks = (
                *blocks,
                Empty(f"{counted(count, 'chart')} not drawn here: the tables have the numbers."),
            )
        if any(self.of(section, table) for table in section.tables):
            return replace(section, blocks=blocks, template=None)
        return replace(section, blocks=blocks)


def _crowded(block: Block) -> bool:
    return isinstance(block, Chart) and block.tabled and len(block.panels) > MOST_PANELS


def divided(items: Iterable[Item], *keys: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Items by the first key; by the first two, if it is the same for all, and so on."""
    listed, found = list(items), dict[str, list[Item]]()
    for count in range(1, len(keys) + 1):
        found = {}
        for item in listed:
            label = " · ".join(filter(None, (key(item) for key in keys[:count])))
            found.setdefault(label, []).append(item)
        if len(found) > 1:
            break
    return found


def _model(row: Row) -> str:
    head = row[0]
    return " ".join(filter(None, (head.model, f"({head.model_label})" if head.model_label else "")))


def _source(row: Row) -> str:
    return f"trained on {row[0].trained_on}" if row[0].trained_on else "not trained"


def _counts(label: str, table: Table) -> tuple[WinLoss, tuple[tuple[int, int, int], ...]]:
    """Gains of all columns as a strip; and of each column: better, worse, of how many tests."""
    columns = []
    missing = 0
    for place in range(len(table.columns)):
        values = [one for _, held in table.rows if isinstance(one := held[place], Value)]
        tested = [one for one in values if one.gain is not None and one.gain.adjusted is not None]
        remain = [one.verdict for one in tested if one.gain is not None and one.gain.remains]
        columns.append((remain.count("up"), remain.count("down"), len(tested)))
        missing += sum(one.value is None for one in values)
    won, lost, tests = (sum(one[i] for one in columns) for i in range(3))
    return WinLoss(label, "", won, tests - won - lost, lost, missing), tuple(columns)


def summary(part: PartPage, baseline: str | None) -> str:
    """ "Better than ce in 90 of 1,456 comparisons, worse in 3, 12 missing"."""
    tally = part.tally
    if not tally.tested:
        return counted(len(part.table.rows), "row")
    missing = f"; {tally.missing:,} missing" if tally.missing else ""
    counts = f"Better than {baseline} in {tally.won:,} of {counted(tally.tested, 'comparison')}"
    return f"{counts}, worse in {tally.lost:,}{missing}"
