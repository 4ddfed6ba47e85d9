"""One device for all that a run loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.device import device, free
from perbench.persona.dense import Encoder
from perbench.processes import Group


def test_training_evaluation_and_retrieval_run_on_the_same_device(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An accelerator that is not CUDA: torch's own one without memory takes weights as any other does.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    assert Group().device == device() == torch.device("meta")
    assert TransformersEngine(tiny_model_dir, dtype="float32").model.device == device()
    assert Encoder(lambda: tiny_model_dir, "d")._load()[0].device == device()


def test_without_an_accelerator_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    free()
    assert Group().device == Group(1, 2).device == device() == torch.device("cpu")


def test_memory_goes_back_to_the_accelerator_of_whatever_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append("mps"))
    free()
    assert emptied == ["mps"]
