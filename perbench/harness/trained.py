"""Finds a model of a run directory for lm-eval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError, suggest
from perbench.matrix.catalogue import model_inputs
from perbench.matrix.cells import describe
from perbench.matrix.weights import USERS
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.specs.load import load_model
from perbench.store import CellRecord, read_records
from perbench.training.checkpoint import checkpoint_faults
from perbench.training.per_user import user_adapters

MOST = 10
"""Maximum trainings listed in a message."""


@dataclass(frozen=True)
class ServedWeights:
    """A model with the weights of a training: an adapter or a full model (None: the base model). `users` are
    users' own adapters on top, for requests of the task `source`."""

    model: Named[ModelSpec]
    checkpoint: Path | None
    users: Mapping[str, Path]
    source: str | None


def find_weights(run: Path, **wanted: Any) -> ServedWeights:
    """The one training of a run directory that matches.

    Args:
        wanted: trainer, source, model, seed and cell (the start of an identity), each None if not given.
            Trainer "base" is the untrained model. `model` may also be the folder of a local model.

    Raises:
        PerbenchError: none or several match (all are listed); weights are missing or have been changed.
    """
    folder = wanted.get("model")
    if folder is not None and Path(folder).is_dir():
        wanted["model"] = Path(folder).name
    records = read_records(run)
    if wanted.get("trainer") == "base":
        return _base(run, [record for record, _ in records], wanted.get("model"), folder)
    trained = [
        (record, path) for record, path in records if record.kind == "train" and record.status == "done"
    ]
    for name in ("trainer", "source", "model"):
        known = {str(getattr(record.labels, name)) for record, _ in trained}
        if wanted.get(name) is not None and wanted[name] not in known:
            raise PerbenchError(
                f"{run}: no training has {name}={wanted[name]}.{suggest(wanted[name], known)}"
            )
    found = [(record, path) for record, path in trained if _matches(record, wanted)]
    if len(found) != 1:
        listed = found or trained
        lines = [f"  cell={one.identity[:8]}  {describe(one.kind, one.labels)}" for one, _ in listed[:MOST]]
        more = [f"  and {len(listed) - MOST} more"] if len(listed) > MOST else []
        raise PerbenchError(
            "\n".join(
                [
                    f"{run}: {len(found)} trainings match; choose one by trainer=, source=, model=, seed= or "
                    "cell= in --model_args:",
                    *lines,
                    *more,
                ]
            )
        )
    ((record, path),) = found
    model = _model(record.labels.model, folder)
    if _weights(model_inputs(model)) != _weights(record.inputs["model"]):
        raise PerbenchError(
            f"{run}: the base model {record.labels.model} is not the one that was trained: its files, or the "
            "commit of its revision, have changed"
        )
    final = path / "checkpoint" / "final"
    faults = checkpoint_faults(final, seal=record.weights.get("final"))
    users: dict[str, Path] = {}
    if USERS in record.weights:
        users, more = user_adapters(path / "checkpoint" / USERS, seal=record.weights[USERS])
        faults += more
    if faults:
        raise PerbenchError(f"{run}: the trained weights have changed: {'; '.join(faults)}")
    return ServedWeights(model, final, users, record.labels.source)


def _weights(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies the weights in a model's inputs."""
    return {name: value for name, value in inputs.items() if name not in ("dtype", "prompts")}


def _matches(record: CellRecord, wanted: Mapping[str, Any]) -> bool:
    labels = record.labels
    cell = wanted.get("cell")
    seed = wanted.get("seed")
    return (
        all(wanted.get(name) in (None, getattr(labels, name)) for name in ("trainer", "source", "model"))
        and (seed is None or str(seed) == str(labels.seed))
        and (cell is None or record.identity.startswith(str(cell)))
    )


def _base(run: Path, records: list[CellRecord], model: str | None, folder: str | None) -> ServedWeights:
    names = sorted({record.labels.model for record in records})
    if model is None and len(names) == 1:
        model = names[0]
    if model not in names:
        given = f"no model {model!r}" if model is not None else "several models; choose one by model="
        raise PerbenchError(f"{run}: {given}.{suggest(model or '', names)}")
    return ServedWeights(_model(model, folder), None, {}, None)


def _model(label: str, folder: str | None) -> Named[ModelSpec]:
    try:
        return load_model(folder or label)
    except PerbenchError as error:
        raise PerbenchError(f"{error} Name the folder of a local model by model= in --model_args.") from None
