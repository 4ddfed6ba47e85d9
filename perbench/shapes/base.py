"""The strict base of all specs: unknown keys and wrong types are errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Frozen, no unknown keys, no coercion (an int is accepted for a float, "3" for 3 is not)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


T = TypeVar("T", bound=Strict, covariant=True)


@dataclass(frozen=True)
class Named(Generic[T]):
    """A spec with its name; `path` is its file, None for a model given by folder or hub name."""

    name: str
    spec: T
    path: Path | None

    @property
    def folder(self) -> Path:
        """The base of relative paths in the spec."""
        return Path() if self.path is None else self.path.parent
