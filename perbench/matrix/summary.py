"""The results of a run as JSON; `perbench.site.terminal` prints them as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.progress import counted
from perbench.store import CellRecord, EndpointUse
from perbench.store.ledger import added


def as_json(records: Sequence[CellRecord], out: str) -> dict[str, Any]:
    """{"out", "done", "failed", "cells"}; a cell has its description, its headline's value, the number of
    samples without a score and why, or its error."""
    failed = sum(record.status == "failed" for record in records)
    cells = [_cell(record) for record in records]
    return {"out": out, "done": len(records) - failed, "failed": failed, "cells": cells}


def spent(records: Sequence[CellRecord]) -> list[str]:
    """A line for each endpoint used by the cells (requests, tokens, cost), and one with the total cost if
    several have one currency."""
    uses: dict[str, list[EndpointUse]] = {}
    for record in records:
        for name, use in record.endpoints.items():
            uses.setdefault(name, []).append(use)
    lines = []
    totals: dict[str, list[float]] = {}
    for name, found in uses.items():
        whole = added(found)
        line = (
            f"endpoint {name}: {counted(whole.requests, 'request')}, "
            f"{counted(whole.answers, 'answer')} paid for, {whole.reused:,} from the cache; "
            f"{counted(whole.input_tokens, 'token')} read "
            f"({whole.cached_input_tokens:,} cached there), {whole.output_tokens:,} written"
        )
        if whole.unmetered:
            line += f"; {counted(whole.unmetered, 'answer')} came without a count of tokens"
        costs = [use.cost for use in found if use.cost is not None and use.currency is not None]
        currency = next((use.currency for use in found if use.currency is not None), None)
        if currency is not None and len(costs) == len(found):
            line += f"; {sum(costs):,.4f} {currency}"
            totals.setdefault(currency, []).append(sum(costs))
        lines.append(line)
    return lines + [
        f"endpoints together: {sum(costs):,.4f} {currency}"
        for currency, costs in totals.items()
        if len(costs) > 1
    ]


def in_short(record: CellRecord) -> str | None:
    """A finished cell in a few words; None for a failed one."""
    from perbench.site.format import digits_for, interval, number

    if record.error is not None:
        return None
    if record.kind == "train":
        return f"loss {record.training_log[-1]['loss']:.3g}" if record.training_log else ""
    metric = record.metrics.get(record.headline or "")
    if metric is None or metric.value is None:
        return f"{record.headline or 'headline'}: no score"
    digits = digits_for([metric.value])
    ci = f" {interval(metric.ci, digits)}" if metric.ci else ""
    return f"{record.headline} {number(metric.value, digits)}{ci}"


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
        "missing": metric.missing if metric else 0,
        "why": metric.why if metric else {},
        "seconds": record.seconds,
        "endpoints": {name: use.model_dump(mode="json") for name, use in record.endpoints.items()},
        "error": record.error.message if record.error else None,
    }
