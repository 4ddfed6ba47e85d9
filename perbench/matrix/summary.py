"""The results of a run as JSON, for programs; `perbench.site.terminal` has the tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.store import CellRecord


def as_json(records: Sequence[CellRecord], out: str) -> dict[str, Any]:
    """{"out", "done", "failed", "cells"}; a cell says what it is, its headline's value, or its error."""
    failed = sum(record.status == "failed" for record in records)
    cells = [_cell(record) for record in records]
    return {"out": out, "done": len(records) - failed, "failed": failed, "cells": cells}


def _cell(record: CellRecord) -> dict[str, Any]:
    metric = record.metrics.get(record.headline or "")
    return {
        "kind": record.kind,
        "identity": record.identity,
        "status": record.status,
        "labels": record.labels.model_dump(mode="json"),
        "headline": record.headline,
        "value": metric.value if metric else None,
        "ci": metric.ci if metric else None,
        "n": metric.n if metric else 0,
        "seconds": record.seconds,
        "error": record.error.message if record.error else None,
    }
