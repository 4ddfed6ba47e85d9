"""A frozen reference's effects: computed once, then read; never of other weights, pairs or precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from perbench.contrast import Contrast, contrast
from perbench.models import ResolvedModel, load_causal_lm
from perbench.prompts.pair import PromptPair
from perbench.training import FitResult
from perbench.training import network as made_ready
from perbench.training.reference import cached, effects_path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "effects"


def test_computed_once_for_each_identity(model: ResolvedModel, pairs: list[PromptPair], cache: Path) -> None:
    network = load_causal_lm(model.folder, "float32")
    asked: list[int] = []

    def compute(share: Sequence[PromptPair]) -> list[Contrast]:
        asked.append(len(share))
        return contrast(network, share)

    expected = contrast(network, pairs)
    for _ in range(2):
        found = cached("a", "float32", pairs, compute)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours.factual, theirs.factual)
            assert torch.equal(ours.counterfactual, theirs.counterfactual)
    assert asked == [len(pairs)]
    cached("b", "float32", pairs, compute)
    cached("a", "bfloat16", pairs, compute)
    cached("a", "float32", pairs[1:], compute)
    cached("a", "float32", pairs[::-1], compute)
    assert asked == [10, 10, 10, 9, 10]
    assert len(list(cache.iterdir())) == 5


def test_a_training_reads_what_another_computed(
    train: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = train("nextquill", folder="first")
    assert len(list(cache.iterdir())) == 1

    def refused(*_: object, **__: object) -> list[Contrast]:
        raise AssertionError("computed again")

    monkeypatch.setattr(made_ready, "contrast", refused)
    again = train("nextquill", folder="again")
    assert [entry["loss"] for entry in again.log] == [entry["loss"] for entry in first.log]


def test_a_full_disk_leaves_nothing_behind(
    model: ResolvedModel, pairs: list[PromptPair], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("perbench.training.reference.os.replace", full)
    weights = load_causal_lm(model.folder, "float32")
    with pytest.raises(OSError, match="No space left"):
        cached("a", "float32", pairs, lambda share: contrast(weights, share))
    assert not list(cache.iterdir())
    assert not effects_path("a", "float32", pairs).exists()
