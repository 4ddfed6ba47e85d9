"""The view as JSON, as printed by `perbench run --json` besides the cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from perbench.contracts.section import RowHead, Table, Value
from perbench.heap import growing
from perbench.site.load import load
from perbench.site.view import SiteView, build_view
from perbench.stats.paired import Estimate
from perbench.store import CellRecord


@growing()
def read_results(run: Path, matrix: str | None = None, known: Sequence[CellRecord] = ()) -> dict[str, Any]:
    """{"verdict", "sections"} of a run directory, or of one matrix's latest plan in it; `known` as in
    `perbench.site.load.load`.

    Raises:
        PerbenchError: as `perbench.site.build`.
    """
    view = build_view(load([run], matrix=matrix, known=known))
    return {"verdict": view.verdict.lines, "sections": sections_of(view)}


def sections_of(view: SiteView) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "title": one.title or one.label,
            "tables": [table_data(table) for table in one.numbers],
            "empty": [asdict(block) for block in one.empty],
        }
        for one in view.sections
    ]


def table_data(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "caption": table.caption,
        "notes": [*table.notes, *table.remarks],
        "signature": table.signature,
        "columns": [asdict(column) for column in table.columns],
        "rows": [{**_head(head), "values": list(map(_value, values))} for head, values in table.rows],
    }


def _head(head: RowHead) -> dict[str, Any]:
    """The row's label without display-only fields."""
    return {name: getattr(head, name) for name in HEAD} | {"flags": [flag.text for flag in head.flags]}


HEAD = [field.name for field in fields(RowHead) if field.name not in ("flags", "group")]
GAIN = [field.name for field in fields(Estimate)]


def _gain(gain: Estimate) -> dict[str, Any]:
    """As `asdict`, which copies each number: of thousands of gains."""
    spread = None if gain.spread is None else dict(vars(gain.spread))
    return {name: getattr(gain, name) for name in GAIN} | {"spread": spread}


def _value(value: Value | str) -> dict[str, Any] | str:
    if isinstance(value, str):
        return value
    return {
        "value": value.value,
        "ci": value.ci,
        "ci_aside": value.ci_aside or None,
        "text": value.text or None,
        "n": value.n,
        "missing": value.missing,
        "flags": [flag.text for flag in value.flags],
        "gain": _gain(value.gain) if value.gain is not None else None,
        "rank": value.rank,
        "better": value.better,
        "cells": [record.identity for record in value.records],
    }
