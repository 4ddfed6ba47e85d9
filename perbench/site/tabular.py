"""A section's table as CSV and as JSON: the files that a page offers beside it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.site.data import table_data
from perbench.site.view import ShownSection

INDENTED = 5000
"""Values of a table above which its JSON is on one line, as Python writes it ten times as fast."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets take a text with such a beginning for a formula."""


def file_of(section: ShownSection, number: int) -> str:
    """The name of a table's files, without its ending."""
    return section.files or f"data/{section.name}-{number}"


def as_csv(table: Table) -> str:
    """In long form: a line for each value, numbers in full."""
    return csv_of(list(_lines(table)))


def csv_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines with the same keys. They end as RFC 4180 has it: only so does Python quote every line end in a
    text, after which a formula could begin."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    names = list(lines[0]) if lines else []
    writer.writerow(names)
    writer.writerows([_inert(line[name]) for name in names] for line in lines)
    return text.getvalue()


def as_json(section: str, table: Table) -> str:
    spaces = 1 if len(table.rows) * len(table.columns) <= INDENTED else None
    return json.dumps({"section": section, **table_data(table)}, ensure_ascii=False, indent=spaces) + "\n"


def _lines(table: Table) -> Iterator[dict[str, Any]]:
    for head, values in table.rows:
        for column, value in zip(table.columns, values, strict=True):
            yield {**_place(table, head, column), **_value(value, head)}


def _place(table: Table, head: RowHead, column: ColumnHead) -> dict[str, Any]:
    return {
        "task": table.title,
        "row": head.name,
        "variation": head.variation,
        "detail": head.detail,
        "trained_on": head.trained_on,
        "model": head.model,
        "model_label": head.model_label,
        "reported": head.reported,
        "column": column.title,
        "metric": column.metric,
    }


def _value(value: Value | str, head: RowHead) -> dict[str, Any]:
    found = Value(text=value) if isinstance(value, str) else value
    gain = found.gain
    low, high = found.ci or (None, None)
    gain_low, gain_high = (gain.ci if gain is not None else None) or (None, None)
    best, worst = found.rank or (None, None)
    return {
        "value": found.value,
        "ci_low": low,
        "ci_high": high,
        "text": ": ".join(filter(None, (found.text, found.aside))),
        "n": found.n,
        "missing": found.missing,
        "better": found.better or "neither",
        "gain": gain.value if gain is not None else None,
        "gain_ci_low": gain_low,
        "gain_ci_high": gain_high,
        "gain_p": gain.p if gain is not None else None,
        "gain_p_holm": gain.adjusted if gain is not None else None,
        "rank_best": best,
        "rank_worst": worst,
        "seeds": " ".join(str(record.labels.seed) for record in found.records),
        "caveats": "; ".join(flag.text for flag in (*head.flags, *found.flags)),
        "cells": " ".join(record.identity for record in found.records),
    }


def _inert(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
