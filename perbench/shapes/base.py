"""The strict base of every spec: unknown keys and wrong types are errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Frozen, no unknown keys, no coercion (an int where a float is meant is accepted, "3" for 3 is not)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
