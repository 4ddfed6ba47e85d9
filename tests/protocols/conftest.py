from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from perbench.engines.transformers.engine import TransformersEngine


class MemoryStore:
    """Keeps what JSON keeps. Once `fuse` samples are stored it raises, even amid an append."""

    class Killed(BaseException):
        """Stands for the process's death: nothing may catch it."""

    def __init__(self, rows: Sequence[dict[str, Any]] = (), *, fuse: int | None = None) -> None:
        self.rows = list(rows)
        self.fuse = fuse

    def samples(self) -> list[dict[str, Any]]:
        return json.loads(json.dumps(self.rows))  # type: ignore[no-any-return]

    def append(self, samples: Sequence[dict[str, Any]]) -> None:
        for sample in samples:
            if self.fuse is not None and len(self.rows) >= self.fuse:
                raise self.Killed
            self.rows.append(json.loads(json.dumps(sample, allow_nan=False)))


@pytest.fixture(scope="session")
def stores() -> type[MemoryStore]:
    return MemoryStore


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")
