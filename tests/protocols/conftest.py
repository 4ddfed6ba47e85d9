from __future__ import annotations

from pathlib import Path

import pytest

from perbench.conformance.protocol import MemoryStore
from perbench.engines.transformers.engine import TransformersEngine


@pytest.fixture(scope="session")
def stores() -> type[MemoryStore]:
    return MemoryStore


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")
