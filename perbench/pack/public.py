"""Specs as they may leave this machine: without what is marked PRIVATE, as JSON that is YAML, too."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from perbench.shapes.base import Strict
from perbench.shapes.fields import PRIVATE, marked_keys
from perbench.specs import yaml
from perbench.specs.compose import model_spec

ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What YAML reads as something else, or not at all, unless it is escaped."""


def public_spec(spec: Strict) -> bytes:
    """A resolved spec."""
    values = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return as_yaml(_without(values, marked_keys(type(spec), PRIVATE)))


def public_yaml(path: Path) -> bytes | None:
    """A model's file without its private keys; None if it has none and may be packed as it is."""
    values = yaml.read(path).data
    public = _without(values, marked_keys(model_spec(), PRIVATE))
    return as_yaml(public) if public != values else None


def _without(values: dict[str, Any], paths: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    found = deepcopy(values)
    for path in paths:
        inner = yaml.at(found, path[:-1])
        if isinstance(inner, dict):
            inner.pop(path[-1], None)
    return found


def as_yaml(value: Any) -> bytes:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    return (ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n").encode()
