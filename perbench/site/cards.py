"""The cards of large tables: files of their own, since they are half of what such a page weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.site.draw import card
from perbench.store import CellRecord

LARGE = 500
"""Values of a table above which its page does not hold its cards."""


def apart(table: Table) -> bool:
    """Whether the cards of a table are in a file."""
    return len(table.rows) * len(table.columns) > LARGE


def name_of(head: RowHead, column: ColumnHead) -> str:
    """What a card is headed: "perce lr 1e-5, fam/read → fam/write", or "perce, turn 2"."""
    if not column.metric or head.trained_on is None:
        return ", ".join(filter(None, (head.name, column.title)))
    who = " ".join(filter(None, (head.name, head.variation)))
    return f"{who}, {head.trained_on} → {column.title}" if head.trained_on else f"{who} → {column.title}"


def links_of(value: Value) -> list[tuple[CellRecord, str]]:
    """The cells behind a value, with the text of the link to each."""
    several = len(value.records) > 1
    found = []
    for record in value.records:
        seed = f", seed {record.labels.seed}" if several else ""
        failed = record.status == "failed"
        found.append((record, f"{'record' if failed else 'samples and record'}{seed}"))
    return found


def as_data(
    name: str, table: Table, baseline: str | None, address: Callable[[CellRecord], str]
) -> dict[str, Any]:
    """For each value of a table, row by row, its card: name, lines, links; None without one."""
    cards: list[Any] = []
    for head, values in table.rows:
        for column, value in zip(table.columns, values, strict=True):
            if isinstance(value, str):
                cards.append(None)
                continue
            links = [[address(record), text] for record, text in links_of(value)]
            cards.append([name_of(head, column), card(value, baseline), links])
    return {"table": name, "cards": cards}
