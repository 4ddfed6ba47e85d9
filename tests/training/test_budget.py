"""Computed memory beside what models and a run really hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.errors import PerbenchError
from perbench.lm.head import CHUNK, KEEP
from perbench.specs.load import load_model
from perbench.specs.matrix import LoraSpec, TrainingSpec
from perbench.training import budget as module
from perbench.training import network
from perbench.training.budget import Shape, budget, kept

SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 64,
}


def make(kind: str, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **{**SIZES, **changes})
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", module.KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_the_models(kind: str, tied: bool) -> None:
    network = make(kind, tie_word_embeddings=tied)
    shape = Shape.read(network.config.to_dict(), kind)
    assert shape.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "billions"), [("qwen3-4b", 4.022), ("llama-3.1-8b", 8.030), ("qwen3-14b", 14.768)]
)
def test_the_papers_models_have_their_published_sizes(name: str, billions: float) -> None:
    shape = load_model(name).spec.shape
    assert shape is not None
    assert Shape.read(shape, name).parameters / 1e9 == pytest.approx(billions, abs=1e-3)


def test_adapters_are_pefts() -> None:
    spec = TrainingSpec(lora=LoraSpec(rank=3))
    adapted = network.adapt(make("qwen3"), spec, 0)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    found = budget(Shape.read({"model_type": "qwen3", **SIZES}, "sizes"), spec)
    assert found.trainable == trained
    assert found.moments == 2 * found.gradients == 8 * trained


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize(
    ("method", "precision", "half"),
    [
        ("full", "fp32", False),
        ("full", "bf16", False),
        ("full", "bf16", True),
        ("lora", "fp32", False),
        ("lora", "bf16", False),
    ],
)
def test_what_autograd_keeps_of_a_layer(kind: str, method: Any, precision: Any, half: bool) -> None:
    spec = TrainingSpec(method=method, precision=precision, lora=LoraSpec(rank=4))
    length = 256

    def bytes_per_token(layers: int) -> float:
        base = make(kind, num_hidden_layers=layers)
        low = precision == "bf16"
        base = base.to(torch.bfloat16) if half or (method == "lora" and low) else base
        adapted: Any = network.adapt(base, spec, 0)
        body = (adapted.get_base_model() if method == "lora" else adapted).model
        own = {p.untyped_storage().data_ptr() for p in adapted.parameters()}
        found: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own and length in tensor.shape:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            network.autocast(spec, torch.device("cpu"))(),
        ):
            kept_alive = body(input_ids=torch.zeros(1, length, dtype=torch.long), use_cache=False)
        assert kept_alive.last_hidden_state.requires_grad
        return sum(found.values()) / length

    measured = (bytes_per_token(3) - bytes_per_token(1)) / 2
    shape = Shape.read({"model_type": kind, **SIZES}, "sizes")
    computed = kept(shape, spec, half=precision == "bf16", sharded=half)
    assert computed == pytest.approx(measured, rel=0.05)


PEAK = """
import gc, json, sys
from pathlib import Path
from perbench.lm.memory import peak_mb, reset_peak
from perbench.lm.models import ResolvedModel
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import fit

folder, tiny, model = map(Path, sys.argv[1:4])
settings = json.loads(sys.argv[4])
pairs = [PromptPair((i, *range(6, 380), *range(5, 380)), (5,), (7,) * 18, 1, 0) for i in range(4)]

def train(name, path, examples):
    fit(ResolvedModel(name, path, "0"), load_trainer("ce", {}), examples, list("0123")[:len(examples)],
        TrainingSpec(**settings), seed=0, folder=folder / name, tick=lambda *_: None)

# What a first training imports and keeps for good is no part of a run's memory.
train("tiny", tiny, [PromptPair((6, 5), (5,), (7,), 1, 0)])
gc.collect()
reset_peak()
before = peak_mb()
train("small", model, pairs)
print(peak_mb() - before)
"""


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_runs_peak_is_near_what_was_computed(
    tmp_path: Path, tiny_model_dir: Path, checkpointing: bool
) -> None:
    from transformers import AutoTokenizer

    network = make(
        "llama", hidden_size=256, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, vocab_size=400, tie_word_embeddings=True,
    )  # fmt: skip
    network.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(tmp_path / "model")
    settings = {
        "method": "full", "precision": "fp32", "epochs": 1, "batch_size": 4, "micro_batch_tokens": 3072,
        "gradient_checkpointing": checkpointing,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, (tmp_path / "run", tiny_model_dir, tmp_path / "model")),
         json.dumps(settings)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    measured = float(done.stdout.splitlines()[-1]) * 1e6
    found = budget(
        Shape.read(network.config.to_dict(), "small"), TrainingSpec.model_validate(settings), bf16=False
    )
    assert measured / 1.5 < found.at(3072) < measured * 1.5, (measured, found.at(3072), found)


def test_the_largest_micro_batch_fits_and_one_step_more_does_not() -> None:
    shape = Shape.read({"model_type": "llama", **SIZES}, "sizes")
    found = budget(shape, TrainingSpec())
    tokens = found.tokens(1e9)
    usable = 1e9 * (1 - module.RESERVE)
    assert found.at(tokens) <= usable < found.at(tokens + module.STEP)
    assert found.tokens(1e6) == 0


def test_sharding_divides_what_it_divides() -> None:
    shape = Shape.read({"model_type": "llama", **SIZES}, "sizes")
    alone = budget(shape, TrainingSpec(method="full", parallel="fsdp"))
    spread = budget(shape, TrainingSpec(method="full", parallel="fsdp"), devices=4)
    for part in ("weights", "gradients", "moments"):
        assert getattr(spread, part) == getattr(alone, part) // 4


def test_constants_are_the_heads() -> None:
    assert (module.CHUNK, module.KEEP) == (CHUNK, KEEP)


def test_shapes_that_are_not_known_are_named() -> None:
    with pytest.raises(PerbenchError, match="model_type 'mixtral': memory is computed for llama"):
        Shape.read({"model_type": "mixtral"}, "x")
    with pytest.raises(PerbenchError, match="x: no intermediate_size"):
        Shape.read({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2}, "x")


def test_the_recipes_say_what_is_computed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (\d)x(\d+) GB \| (\S+) \| `method=(\w+)`(?:, `parallel=(\w+)`)?[^|]*"
        r"\| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|$",
        text,
        re.MULTILINE,
    )
    assert len(rows) == 8
    for devices, memory, name, method, parallel, fixed, activations, tokens in rows:
        spec = TrainingSpec.model_validate(
            {"method": method, "parallel": parallel or "ddp", "gradient_checkpointing": True}
        )
        found = budget(Shape.read(load_model(name).spec.shape or {}, name), spec, devices=int(devices))
        told = f"{found.fixed / 1e9:.1f} {found.per_token / 1e6:.2f} {found.tokens(float(memory) * 1e9):,}"
        assert told == f"{fixed} {activations} {tokens}", name
