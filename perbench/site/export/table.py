"""CSV in long form: a line for each model on each target, with full precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from perbench.contracts.results import Loaded, Matrix, ModelRow, Outcome, TargetColumn
from perbench.disk.files import write_text
from perbench.site.export.places import place, status_of
from perbench.site.tabular import csv_of


def write(loaded: Loaded, matrix: Matrix, out: Path, left_out: Callable[[str], None]) -> list[Path]:
    found = [
        _line(row, column, outcome)
        for row, outcomes in matrix.rows
        for column, outcome in zip(matrix.columns, outcomes, strict=True)
    ]
    file = place(out, "transfer.csv")
    write_text(file, csv_of(found))
    return [file]


def _line(row: ModelRow, column: TargetColumn, outcome: Outcome) -> dict[str, Any]:
    mean, gain = outcome.mean, outcome.gain
    low, high = (mean.ci if mean is not None else None) or (None, None)
    gain_low, gain_high = (gain.ci if gain is not None else None) or (None, None)
    best, worst = outcome.rank or (None, None)
    return {
        "model": row.model,
        "model_label": row.model_label,
        "trainer": row.trainer,
        "source": row.source,
        "variation": row.variation,
        "target": column.target,
        "apart": column.apart,
        "metric": column.headline,
        "better": column.better or "neither",
        "status": status_of(outcome),
        "value": mean.value if mean is not None else None,
        "ci_low": low,
        "ci_high": high,
        "n": mean.n if mean is not None else None,
        "missing": mean.missing if mean is not None else None,
        "users": mean.users if mean is not None else None,
        "rank_best": best,
        "rank_worst": worst,
        "versus": outcome.versus,
        "gain": gain.value if gain is not None else None,
        "gain_ci_low": gain_low,
        "gain_ci_high": gain_high,
        "gain_p": gain.p if gain is not None else None,
        "gain_p_holm": gain.adjusted if gain is not None else None,
        "gain_n": gain.n if gain is not None else None,
        "seeds": _seeds(outcome, "done"),
        "seeds_failed": _seeds(outcome, "failed"),
        "own_task": outcome.own,
        "caveats": "; ".join(_caveats(row, column, outcome)),
        "cells": " ".join(record.identity for record in outcome.records),
    }


def _seeds(outcome: Outcome, status: str) -> str:
    return " ".join(str(record.labels.seed) for record in outcome.records if record.status == status)


def _caveats(row: ModelRow, column: TargetColumn, outcome: Outcome) -> Iterator[str]:
    yield from (flag.text for flag in row.flags)
    yield from column.notes
    if outcome.mean is not None:
        yield from (flag.text for flag in outcome.mean.flags)
        yield from filter(None, [outcome.mean.aside])
