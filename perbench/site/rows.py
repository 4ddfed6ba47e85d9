"""The matrix's rows: what tells one trained model from another, and their order."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perbench.site.format import variation
from perbench.store import CellRecord


@dataclass(frozen=True)
class Row:
    """A trained model, seeds left open; trainer and source are None for the base model. `variation` holds
    the hyperparameters that tell this row from others of its trainer."""

    model: str
    model_label: str | None
    trainer: str | None
    source: str | None
    variation: str
    training: str
    params: str


def varied_params(records: Sequence[CellRecord]) -> Mapping[str, frozenset[str]]:
    """Per trainer: the hyperparameters that differ between its records."""
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record.labels.trainer is not None:
            seen[record.labels.trainer].append(record.labels.trainer_params)
    return {
        trainer: frozenset(
            name
            for name in {name for params in found for name in params}
            if len({json.dumps(params.get(name), sort_keys=True) for params in found}) > 1
        )
        for trainer, found in seen.items()
    }


def row_of(record: CellRecord, varied: Mapping[str, frozenset[str]]) -> Row:
    """The row a cell stands in; `varied` as `varied_params` gives it."""
    labels = record.labels
    told = varied.get(labels.trainer or "", frozenset())
    # A trainer's own settings are always told: its gain is over a baseline that was trained otherwise.
    shown = {k: v for k, v in labels.trainer_params.items() if k in told or k.startswith("training.")}
    return Row(
        model=labels.model,
        model_label=labels.model_label,
        trainer=labels.trainer,
        source=labels.source,
        variation=", ".join(filter(None, (variation(shown), variation(labels.training)))),
        training=json.dumps(labels.training, sort_keys=True),
        params=json.dumps(labels.trainer_params, sort_keys=True),
    )


def order(row: Row, baseline: str | None) -> tuple[Any, ...]:
    """Sort key: by model, base rows first, then by source and settings, the baseline before the others."""
    return (
        row.model,
        row.trainer is not None,
        row.source or "",
        _by_value(row.training),
        row.trainer != baseline,
        row.trainer or "",
        _by_value(row.params),
    )


def _by_value(parameters: str) -> list[tuple[str, bool, float, str]]:
    """Sort key of hyperparameters: numbers by size, all else as text."""
    found = sorted(json.loads(parameters).items())
    numeric = {name: isinstance(value, int | float) for name, value in found}
    return [(name, not numeric[name], value if numeric[name] else 0.0, str(value)) for name, value in found]
