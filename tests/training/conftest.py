from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.disk.sealed import SealedJournal
from perbench.lm.models import ResolvedModel
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import LoraSpec, TrainingSpec
from perbench.training import FitResult, fit

SPEC = TrainingSpec(
    lora=LoraSpec(rank=4, alpha=8),
    epochs=2,
    batch_size=4,
    learning_rate=1e-2,
    max_grad_norm=0.5,
    precision="fp32",
    save_every=2,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's digest is made up: what is computed of it must not outlive the test."""
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def spec() -> TrainingSpec:
    """What `train` changes from: five updates, a checkpoint after each second."""
    return SPEC


@pytest.fixture(scope="session")
def model(tiny_model_dir: Path) -> ResolvedModel:
    return ResolvedModel("tiny", tiny_model_dir, "0" * 64)


@pytest.fixture(scope="session")
def pairs() -> list[PromptPair]:
    """Ten examples: at four a batch and two epochs, five updates, one of them across the epochs' border."""
    generator = torch.Generator().manual_seed(0)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return tuple(torch.randint(3, 380, (length,), generator=generator).tolist())

    questions = [ids(2, 6) for _ in range(10)]
    return [PromptPair((*ids(0, 25), *question), question, ids(3, 15), 1, 0) for question in questions]


@pytest.fixture
def train(model: ResolvedModel, pairs: list[PromptPair], tmp_path: Path) -> Callable[..., FitResult]:
    """fit() with defaults: train(trainer, folder=..., tick=..., **spec changes)."""

    def run(
        trainer: Any = "ce",
        *,
        folder: str = "run",
        tick: Any = lambda done, total, figures: None,
        seed: int = 0,
        examples: list[PromptPair] | None = None,
        log: Path | None = None,
        **changes: Any,
    ) -> FitResult:
        chosen = pairs if examples is None else examples
        plugin = load_trainer(trainer, {}) if isinstance(trainer, str) else trainer
        return fit(
            model,
            plugin,
            chosen,
            [f"example-{i}" for i in range(len(chosen))],
            TrainingSpec.model_validate({**SPEC.model_dump(), **changes}),
            seed=seed,
            folder=tmp_path / folder,
            tick=tick,
            log=SealedJournal(log, "cell") if log is not None else None,
        )

    return run


@pytest.fixture
def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
