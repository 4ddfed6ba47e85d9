"""A model whose values are not finite has no scores: whatever reads it says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.lm.finite import Finite
from perbench.shapes.sampling import SamplingSpec

GREEDY, WARM = SamplingSpec(max_new_tokens=3, temperature=0), SamplingSpec(max_new_tokens=3, temperature=1.0)
PROMPT = list(range(5, 15))
LARGE = "model.layers.0.mlp.down_proj.weight"


def spoilt(folder: Path, to: Path, value: float) -> Path:
    """A copy of a model whose first block has one weight of this value."""
    shutil.copytree(folder, to)
    file = to / "model.safetensors"
    weights = {name: weight.float() for name, weight in load_file(file).items()}
    weights[LARGE][0, 0] = value
    save_file(weights, file, {"format": "pt"})
    return to


READERS: dict[str, Callable[[TransformersEngine], Any]] = {
    "greedy": lambda engine: engine.generate([PROMPT], GREEDY, seed=0),
    "drawn": lambda engine: engine.generate([PROMPT], WARM, seed=0),
    "steered": lambda engine: engine.steer([PROMPT], [PROMPT[:4]], GREEDY, combine=torch.add, seed=0),
    "scored": lambda engine: engine.score([PROMPT], [[3, 4]]),
}


@pytest.fixture(scope="module", params=["nan", "inf", "beyond float16"])
def engine(
    request: pytest.FixtureRequest, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> TransformersEngine:
    value, dtype = {
        "nan": (float("nan"), "float32"),
        "inf": (float("inf"), "bfloat16"),
        "beyond float16": (1e6, "float16"),
    }[request.param]
    return TransformersEngine(
        spoilt(tiny_model_dir, tmp_path_factory.mktemp("spoilt") / "m", value), dtype=dtype
    )


@pytest.mark.parametrize("name", READERS)
def test_values_that_are_no_numbers_are_refused(engine: TransformersEngine, name: str) -> None:
    with pytest.raises(PerbenchError, match="not finite"):
        READERS[name](engine)


def test_what_a_vocabulary_rules_out_is_no_fault() -> None:
    scores = torch.tensor([[0.5, -torch.inf], [1.0, 2.0]])
    assert Finite()(torch.zeros(2, 1), scores) is scores
