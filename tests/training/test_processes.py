"""Two processes (gloo) train as one does: replicated, and with every weight sharded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from perbench.lm.models import load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import FitResult
from perbench.training.plan import UpdatePlan
from perbench.training.shard import shard_examples
from tests.processes import torchrun

Train = Callable[..., FitResult]

SPEC: dict[str, Any] = {
    "method": "full",
    "epochs": 1,
    "batch_size": 3,  # of ten examples: the last update has one, so one process has none
    "learning_rate": 1e-3,
    "max_grad_norm": 1e6,
    "precision": "fp32",
    "save_every": 2,
    "micro_batch_tokens": 40,
}
LORA: dict[str, Any] = {"method": "lora", "lora": {"rank": 4, "alpha": 8}, "learning_rate": 1e-2}
CASES: dict[str, dict[str, Any]] = {
    **{
        f"{trainer}-{parallel}": {"trainer": trainer, "parallel": parallel}
        for trainer in ("ce", "perce", "nextquill")
        for parallel in ("ddp", "fsdp")
    },
    "lora-ddp": {"trainer": "perce", "parallel": "ddp", **LORA},
    "lora-fsdp": {"trainer": "perce", "parallel": "fsdp", "gradient_checkpointing": True, **LORA},
    "bf16-ddp": {"trainer": "nextquill", "parallel": "ddp", "precision": "bf16"},
    "bf16-fsdp": {
        "trainer": "nextquill",
        "parallel": "fsdp",
        "precision": "bf16",
        "gradient_checkpointing": True,
    },
    "bf16-lora-fsdp": {"trainer": "ce", "parallel": "fsdp", "precision": "bf16", **LORA},
    "again-ddp": {"trainer": "nextquill", "parallel": "ddp", "stop": 3},
    "again-fsdp": {"trainer": "nextquill", "parallel": "fsdp", "stop": 3},
    "memory-ddp": {
        "trainer": "ce",
        "parallel": "ddp",
        "micro_batch_tokens": 400,
        "spoil": {"rank": 1, "call": 1, "kind": "memory"},
    },
    "fault-ddp": {"trainer": "ce", "parallel": "ddp", "spoil": {"rank": 1, "call": 2, "kind": "fault"}},
}


def describe(folder: Path, model: Path, pairs: list[PromptPair], cases: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    sequences = [[pair.factual, pair.counterfactual, pair.response] for pair in pairs]
    given = {"model": str(model), "pairs": sequences, "spec": SPEC, "cases": cases}
    (folder / "cases.json").write_text(json.dumps(given))


WORKER = str(Path(__file__).with_name("worker.py"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, pairs: list[PromptPair]) -> Path:
    """A folder with gradients.safetensors (of the first update), seen.json and run/final for each case."""
    folder = tmp_path_factory.mktemp("two")
    describe(folder, tiny_model_dir, pairs, CASES)
    finished = torchrun(WORKER, str(folder))
    assert finished.returncode == 0, finished.stderr[-4000:]
    return folder


def seen(folder: Path, case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / case / "seen.json").read_text())
    return found


def slow(model: Path, pairs: list[PromptPair], trainer: str) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of one update by the papers' equations: an example at a time, all its logits."""
    network = load_causal_lm(model, "float32")
    total: Any = 0
    weight: Any = 0
    for pair in pairs:
        target = torch.tensor(pair.response)

        def logits(prompt: tuple[int, ...], pair: PromptPair = pair) -> torch.Tensor:
            ids = torch.tensor([[*prompt, *pair.response]])
            found: torch.Tensor = network(input_ids=ids).logits[0, len(prompt) - 1 : -1]
            return found

        def logp(z: torch.Tensor, target: torch.Tensor = target) -> torch.Tensor:
            return z.log_softmax(-1).gather(-1, target[:, None])[:, 0]

        factual, free = logits(pair.factual), logits(pair.counterfactual)
        if trainer == "ce":
            total, weight = total - logp(factual).sum(), weight + len(target)
        elif trainer == "perce":
            pir = (logp(factual) - logp(free)).detach()
            total = total - (pir.clamp(0.8, 5.0) * logp(factual)).sum()
            weight = weight + len(target)
        else:
            plugin: Any = load_trainer("nextquill", {})
            effect = (logp(factual).exp() - logp(free).exp()).detach()
            omega = torch.where(effect > plugin.delta, plugin.lam, plugin.eps)
            total = total - (omega * (logp(factual) + plugin.alpha * logp(factual - free))).sum()
            weight = weight + omega.sum()
    (total / weight).backward()
    weights = list(network.parameters())
    order = [p for p in weights if p.ndim > 1] + [p for p in weights if p.ndim <= 1]
    return (total / weight).item(), [p.grad for p in order if p.grad is not None]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("trainer", ["ce", "perce", "nextquill"])
def test_loss_and_gradients_are_those_of_the_equations(
    done: Path, tiny_model_dir: Path, pairs: list[PromptPair], trainer: str, parallel: str
) -> None:
    plan = UpdatePlan(len(pairs), TrainingSpec.model_validate(SPEC), 0)
    loss, gradients = slow(tiny_model_dir, [pairs[i] for i in plan.batch(0)], trainer)
    case = f"{trainer}-{parallel}"
    ours = load_file(done / case / "gradients.safetensors")
    for rank in seen(done, case):
        assert rank["log"][0]["loss"] == pytest.approx(loss, rel=1e-6)
        assert rank["kinds"] == (["DTensor"] if parallel == "fsdp" else ["Tensor"])
    for index, expected in enumerate(gradients):
        gap = (ours[str(index)] - expected).norm() / expected.norm()
        assert gap < 2e-6, (index, gap)


@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("fault")])
def test_the_whole_training_is_that_of_one_process(done: Path, train: Train, case: str) -> None:
    settings = {**SPEC, **{k: v for k, v in CASES[case].items() if k not in ("stop", "spoil")}}
    alone = train(settings.pop("trainer"), **settings)
    rough = "bf16" in case
    for rank in seen(done, case):
        assert len(rank["log"]) == 4
        for ours, theirs in zip(rank["log"], alone.log, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-2 if rough else 2e-5)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=0.1 if rough else 2e-4)
    trained, expected = (weights(folder) for folder in (done / case / "run" / "final", alone.checkpoint))
    assert trained.keys() == expected.keys()
    if not rough:
        for name, weight in expected.items():
            # Adam's first steps turn the rounding of an all but vanishing gradient into a step of its own.
            assert (trained[name] - weight).abs().gt(2e-5).float().mean() < 0.01, name


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_resumed_and_repeated_runs_end_with_the_same_bits(done: Path, parallel: str) -> None:
    whole, again = (done / f"{name}-{parallel}" / "run" / "final" for name in ("nextquill", "again"))
    assert [file.name for file in whole.parent.iterdir()] == ["final"]
    for file in whole.glob("*.safetensors"):
        assert (again / file.name).read_bytes() == file.read_bytes()


def test_memory_that_runs_out_on_one_process_lowers_the_budget_of_all(done: Path) -> None:
    for rank in seen(done, "memory-ddp"):
        (note,) = rank["notes"]
        assert note.startswith("out of memory at step 1: micro_batch_tokens 400 -> ")


def test_a_fault_of_one_process_is_told_by_all(done: Path) -> None:
    errors = [rank["error"] for rank in seen(done, "fault-ddp")]
    assert errors == ["process 1 of 2: ValueError: a fault of one process"] * 2


def test_sharded_processes_start_again_with_the_smaller_budget(
    tmp_path: Path, tiny_model_dir: Path, pairs: list[PromptPair], train: Train
) -> None:
    spoil = {"rank": 1, "call": 3, "kind": "memory"}
    case = {"trainer": "ce", "parallel": "fsdp", "micro_batch_tokens": 400, "save_every": 1, "spoil": spoil}
    describe(tmp_path, tiny_model_dir, pairs, {"memory": case})
    done = torchrun("--max-restarts=1", WORKER, str(tmp_path))
    assert done.returncode == 0, done.stderr[-4000:]
    told = re.search(
        r"out of memory at step 3: micro_batch_tokens 400 -> \d+(?=; the processes share)", done.stderr
    )
    assert told is not None, done.stderr[-4000:]
    alone = train("ce", **SPEC)
    for rank in seen(tmp_path, "memory"):
        assert rank["notes"] == [told[0]]
        ours, theirs = ([entry["loss"] for entry in log] for log in (rank["log"], alone.log))
        assert ours == pytest.approx(theirs, rel=2e-5)


def test_hands_are_fair_and_complete() -> None:
    assert shard_examples([5, 9, 1, 4, 4], 2) == [[1, 4], [0, 3, 2]]
    assert shard_examples([7], 3) == [[0], [], []]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}
