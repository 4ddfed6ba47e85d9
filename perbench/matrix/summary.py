"""The results of a run in one look: tables for people, JSON for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perbench.matrix.cells import made_by
from perbench.store import CellRecord

if TYPE_CHECKING:
    from rich.table import Table


def as_json(records: Sequence[CellRecord], out: str) -> dict[str, Any]:
    """{"out", "done", "failed", "cells"}; a cell says what it is, its headline's value, or its error."""
    cells = []
    for record in records:
        metric = record.metrics.get(record.headline or "")
        cells.append(
            {
                "kind": record.kind,
                "identity": record.identity,
                "status": record.status,
                "labels": record.labels.model_dump(mode="json"),
                "headline": record.headline,
                "value": metric.value if metric else None,
                "ci": metric.ci if metric else None,
                "n": metric.n if metric else 0,
                "error": record.error.message if record.error else None,
            }
        )
    failed = sum(record.status == "failed" for record in records)
    return {"out": out, "done": len(records) - failed, "failed": failed, "cells": cells}


def tables(records: Sequence[CellRecord]) -> list[Table]:
    """One table of models by targets, one of identifiers by targets; each only where it has rows."""
    evals = [record for record in records if record.kind == "eval"]
    identified = [record for record in records if record.kind == "identify"]
    return [
        _table(kind, found) for kind, found in (("trained on", evals), ("identifier", identified)) if found
    ]


def _table(second: str, records: Sequence[CellRecord]) -> Table:
    from rich.table import Table

    columns = list(dict.fromkeys((record.labels.target, record.headline) for record in records))
    rows: defaultdict[tuple[str, ...], dict[Any, CellRecord]] = defaultdict(dict)
    for record in records:
        rows[_row(record)][record.labels.target, record.headline] = record
    seeded = len({record.labels.seed for record in records}) > 1
    table = Table(title="headline [95% interval]", title_justify="left")
    heads = ["model", "trainer", "trained on"] if second == "trained on" else ["model", "identifier"]
    for head in [*heads, *(["seed"] if seeded else [])]:
        table.add_column(head, overflow="fold")
    for target, headline in columns:
        table.add_column(f"{target}\n{headline}", justify="right")
    for row, cells in rows.items():
        names = row if seeded else row[:-1]
        table.add_row(*names, *(_value(cells.get(column)) for column in columns))
    return table


def _row(record: CellRecord) -> tuple[str, ...]:
    labels = record.labels
    if record.kind == "identify":
        return labels.model, made_by(labels), str(labels.seed)
    return labels.model, made_by(labels), labels.source or "", str(labels.seed)


def _value(record: CellRecord | None) -> str:
    if record is None:
        return ""
    if record.status == "failed":
        return "failed"
    metric = record.metrics.get(record.headline or "")
    if metric is None or metric.value is None:
        return "no value"
    interval = f" \\[{metric.ci[0]:.3g}, {metric.ci[1]:.3g}]" if metric.ci else ""
    return f"{metric.value:.3g}{interval}"
