"""A frozen reference's effects: computed once, then read; never of other weights, pairs or precision."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.disk.cache import DiskCache
from perbench.errors import CellError
from perbench.lm.contrast import Contrast, contrast
from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import FitResult
from perbench.training import network as made_ready
from perbench.training.reference import cached, effects_key
from tests.damage import flip_entries


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache("effects", tmp_path / "cache")


def entries(cache: DiskCache) -> int:
    with closing(sqlite3.connect(cache.path)) as table:
        return int(table.execute("SELECT count(*) FROM sealed").fetchone()[0])


def test_computed_once_for_each_identity(
    model: ResolvedModel, pairs: list[PromptPair], cache: DiskCache
) -> None:
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
    assert entries(cache) == 5


def test_a_training_reads_what_another_computed(
    train: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch, cache: DiskCache
) -> None:
    first = train("nextquill", folder="first")
    assert entries(cache) == 1

    def refused(*_: object, **__: object) -> list[Contrast]:
        raise AssertionError("computed again")

    monkeypatch.setattr(made_ready, "contrast", refused)
    again = train("nextquill", folder="again")
    assert [entry["loss"] for entry in again.log] == [entry["loss"] for entry in first.log]


def test_a_model_whose_effects_are_known_stays_on_the_host(
    model: ResolvedModel, pairs: list[PromptPair], spec: TrainingSpec
) -> None:
    base = made_ready.load(model, spec, torch.device("cpu"))
    given: Any = (load_trainer("nextquill", {}), base, model, pairs, nullcontext, 400)
    found = made_ready.reference_logp(*given, torch.device("cpu"))
    again = made_ready.reference_logp(*given, torch.device("cuda"))
    assert found is not None
    assert again is not None
    assert torch.equal(found[0].factual, again[0].factual)
    assert {parameter.device.type for parameter in base.parameters()} == {"cpu"}


def test_damaged_effects_are_computed_again(
    model: ResolvedModel, pairs: list[PromptPair], cache: DiskCache
) -> None:
    weights = load_causal_lm(model.folder, "float32")
    expected = cached("a", "float32", pairs, lambda share: contrast(weights, share))
    key = effects_key("a", "float32", pairs)
    whole = cache.get([key])
    assert flip_entries(cache) == 1
    found = cached("a", "float32", pairs, lambda share: contrast(weights, share))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.factual, theirs.factual)
    assert cache.get([key]) == whole


def test_a_reference_that_does_not_fit_is_computed_in_smaller_batches(
    train: Callable[..., FitResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = train("nextquill", folder="whole", epochs=0.4)
    budgets: list[int] = []

    def small(limit: int) -> Callable[..., list[Contrast]]:
        def compute(*given: Any, token_budget: int) -> list[Contrast]:
            budgets.append(token_budget)
            if token_budget > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return contrast(*given, token_budget=token_budget)

        return compute

    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "lowered-cache"))
    monkeypatch.setattr(made_ready, "contrast", small(100))
    lowered = train("nextquill", folder="lowered", epochs=0.4)
    assert budgets[0] > 100 >= budgets[-1]
    assert lowered.log[0]["loss"] == pytest.approx(whole.log[0]["loss"], rel=1e-5)
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "never-cache"))
    monkeypatch.setattr(made_ready, "contrast", small(0))
    with pytest.raises(CellError, match="effects of the reference: out of memory with one example"):
        train("nextquill", folder="never", epochs=0.4)
