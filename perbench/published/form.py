"""The form of published files: one text and one name for the same results, made for reading in a diff."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from perbench.console.printing import printable
from perbench.disk.digests import canonical_digest
from perbench.disk.sealed import seal
from perbench.published.shape import SCHEMA, Published, PublishedCell
from perbench.store.record import CellRecord

WIDTH = 100
"""Longer objects and lists of lists take a line for each of their entries."""
LONGEST = 40
"""Maximum characters of each part of a file's name."""


def text_of(value: Any) -> str:
    """A file's text: sorted keys, a line per short object and per list of plain values. Invisible and
    reordering characters are escaped, so that a reviewer sees them."""
    return _text(value, "") + "\n"


def _text(value: Any, indent: str) -> str:
    inner = indent + " "
    if isinstance(value, dict):
        parts = [f"{_plain(key)}: {_text(value[key], inner)}" for key in sorted(value)]
        start, end = "{}"
    elif not isinstance(value, list):
        return _plain(value)
    elif any(isinstance(one, (dict, list)) for one in value):
        parts = [_text(one, inner) for one in value]
        start, end = "[]"
    else:
        return _plain(value)
    if sum(map(len, parts)) + 2 * len(parts) <= WIDTH and not any("\n" in part for part in parts):
        return start + ", ".join(parts) + end
    return f"{start}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{end}"


def _plain(value: Any) -> str:
    """Of a value without objects and lists in it."""
    return printable(_ENCODER.encode(value))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def cell_value(cell: PublishedCell) -> dict[str, Any]:
    """A cell's sealed JSON value, without what is at its default."""
    value = cell.model_dump(
        mode="json", exclude_defaults=True, exclude={"sha256": True, "record": {"sha256"}}
    )
    value["record"] = {"schema_version": cell.record.schema_version, **value["record"]}
    return seal(value)


def file_value(published: Published) -> dict[str, Any]:
    """A file's JSON value; cells and trainings by seed."""
    return {
        "schema_version": SCHEMA,
        **published.model_dump(mode="json", exclude_defaults=True, include={"matrices"}),
        "cells": [cell_value(cell) for cell in sorted(published.cells, key=_order)],
        "trainings": [cell_value(cell) for cell in sorted(published.trainings, key=_order)],
    }


def _order(cell: PublishedCell) -> tuple[int, str]:
    return cell.record.labels.seed, cell.record.identity


def setup_of(record: CellRecord, training: CellRecord | None) -> str:
    """A digest of everything but seeds that a cell was made from: cells of one file share it."""
    return canonical_digest(
        {
            "kind": record.kind,
            "labels": record.labels.model_dump(mode="json", exclude={"seed"}),
            "inputs": _unseeded(record.inputs),
            "training": _unseeded(training.inputs) if training is not None else None,
        }
    )


def _unseeded(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: inputs[key] for key in inputs if key not in ("seed", "train")}


def file_name(record: CellRecord, training: CellRecord | None) -> str:
    """The name of the file that a cell belongs to: "tiny--ce--fam-read--fam-write--0a1b2c3d4e.json". Safe on
    every file system, whatever the labels hold."""
    labels = record.labels
    parts: Sequence[str | None] = (
        labels.model,
        labels.identifier or labels.trainer or "base",
        labels.source,
        labels.target if record.kind != "train" else "training",
    )
    words = [_safe(part) for part in parts if part is not None]
    return "--".join([*words, setup_of(record, training)[:10]]) + ".json"


def _safe(text: str) -> str:
    return re.sub("[^a-z0-9._]+", "-", text.lower())[:LONGEST].strip("-._") or "x"
