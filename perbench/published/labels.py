"""Whether a record's labels are those of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perbench.specs.rows import task_of
from perbench.store.record import CellRecord


def label_faults(record: CellRecord, training: CellRecord | None) -> Iterator[tuple[str, str]]:
    """Labels that contradict the cell's inputs, or the record of the training that made its model if that is
    known: the key and the fault."""
    labels, inputs = record.labels, record.inputs
    if "seed" in inputs and inputs["seed"] != labels.seed:
        yield "labels.seed", f"is {labels.seed}, but {inputs['seed']} in the inputs"
    for part in ("trainer", "identifier", "source", "target"):
        given, label = _mapping(inputs.get(part)), getattr(labels, part)
        name = task_of(label) if label is not None and part in ("source", "target") else label
        if "name" in given and given["name"] != name:
            yield f"labels.{part}", f"is {label!r}, but {given['name']!r} in the inputs"
    for part in ("trainer", "identifier"):
        known = _mapping(_mapping(inputs.get(part)).get("params"))
        for key, value in getattr(labels, f"{part}_params").items():
            # The names of models are replaced by what identifies them.
            if key in known and not isinstance(value, str) and known[key] != value:
                yield f"labels.{part}_params.{key}", f"is {value}, but {known[key]} in the inputs"
    if record.kind == "eval" and record.trained_by != inputs.get("train"):
        yield "trained_by", "differs from the training in the inputs"
    own = {"target": labels.target, "model_label": labels.model_label}
    if training is not None and training.labels.model_copy(update=own) != labels:
        yield "labels", "differ from those of the training that made its model"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
