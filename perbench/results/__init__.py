"""Records and per-sample scores as pandas DataFrames, for your own analyses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.results import Entry, Loaded
from perbench.errors import PerbenchError
from perbench.site.load import load as load_entries
from perbench.store.record import Labels

if TYPE_CHECKING:
    from pandas import DataFrame

LABELS = tuple(Labels.model_fields)
OF_METRIC = ("value", "ci_low", "ci_high", "n", "missing", "better")


@dataclass(frozen=True)
class Results:
    """`records` has a row per cell: identity, run, kind, status, labels, headline, seconds, error; per metric
    "METRIC.value" and the like (OF_METRIC); "counts.NAME"; candidate, whether it only served a selection;
    chosen_on, "val" or "test" if a selection chose its model (by "test": scores on its own task are biased
    upward); the profile of its matrix. `samples` has a row per sample of a cell, with
    identity, kind, labels, id, cluster (its user) and a column per metric with per-sample scores. Missing
    values are NaN or None. Hyperparameters are JSON, so that rows can be grouped by them.

    `damaged` lists what is left out because it differs from what perbench wrote.
    """

    records: DataFrame
    samples: DataFrame
    damaged: tuple[str, ...] = ()


def load(*runs: str | Path) -> Results:
    """The cells of run directories, packs and published files as on the leaderboard: each once, without
    superseded ones.

    Raises:
        PerbenchError: pandas is not installed; a run is absent or empty, or holds only damaged records.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise PerbenchError(
            "perbench.results needs the package pandas; run: pip install 'perbench[results]'"
        ) from error
    loaded = load_entries([Path(run) for run in runs])
    records = pandas.DataFrame([{**_row(entry), **_chosen(entry, loaded)} for entry in loaded.entries])
    numeric = [name for name in records if name.endswith((".value", ".ci_low", ".ci_high"))]
    samples = pandas.DataFrame(_columns(loaded.entries))
    scores = samples.columns[len(LABELS) + 4 :]
    return Results(
        records.astype(dict.fromkeys(numeric, "float64")),
        samples.astype(dict.fromkeys(scores, "float64")),
        tuple(map(str, loaded.damaged)),
    )


def _row(entry: Entry) -> dict[str, Any]:
    record = entry.record
    row = {
        "identity": record.identity,
        "run": entry.run,
        "kind": record.kind,
        "status": record.status,
        **_labels(record.labels),
        "trained_by": record.trained_by,
        "headline": record.headline,
        "seconds": record.seconds,
        "finished": record.finished,
        "error": record.error.type if record.error is not None else None,
    }
    for name, metric in record.metrics.items():
        low, high = metric.ci or (None, None)
        values = (metric.value, low, high, metric.n, metric.missing, record.better_of(name))
        row |= {f"{name}.{part}": value for part, value in zip(OF_METRIC, values, strict=True)}
    return row | {f"counts.{name}": count for name, count in record.counts.items()}


def _chosen(entry: Entry, loaded: Loaded) -> dict[str, Any]:
    record = entry.record
    won = loaded.settled.get(record.trained_by or record.identity, ())
    return {
        "candidate": record.identity in loaded.aside,
        "chosen_on": next((one.on for one in won if one.on != "source"), None),
        "profile": " ".join(loaded.profiles.get(record.identity, ())) or None,
    }


def _columns(entries: tuple[Entry, ...]) -> dict[str, list[Any]]:
    scored = [(entry.record, entry.scores) for entry in entries if entry.scores is not None]
    metrics = sorted({name for _, scores in scored for name in scores.scores})
    columns: dict[str, list[Any]] = {
        name: [] for name in ("identity", "kind", *LABELS, "id", "cluster", *metrics)
    }
    for record, scores in scored:
        size = len(scores.ids)
        same = {"identity": record.identity, "kind": record.kind, **_labels(record.labels)}
        for name, value in same.items():
            columns[name] += [value] * size
        columns["id"] += scores.ids
        columns["cluster"] += scores.clusters
        for name in metrics:
            columns[name] += scores.scores.get(name, [None] * size)
    return columns


def _labels(labels: Labels) -> dict[str, Any]:
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
        for name, value in labels.model_dump().items()
    }
