"""A frozen reference's effects: computed once, then read; never of other weights, pairs or precision."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from perbench.errors import CellError
from perbench.lm.contrast import Contrast, contrast
from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import FitResult
from perbench.training import network as made_ready
from perbench.training.reference import cached, effects_path
from tests.damage import DAMAGES


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


@pytest.mark.parametrize("damage", ["empty", "torn", "short", "other", "values", *DAMAGES])
def test_a_damaged_file_is_computed_again(
    model: ResolvedModel, pairs: list[PromptPair], cache: Path, damage: str
) -> None:
    weights = load_causal_lm(model.folder, "float32")
    expected = cached("a", "float32", pairs, lambda share: contrast(weights, share))
    path = effects_path("a", "float32", pairs)
    whole = path.read_bytes()
    if damage in DAMAGES:
        DAMAGES[damage](path, random.Random(damage))
    elif damage == "values":
        save_file({name: values + 1 for name, values in load_file(path).items()}, path)
    elif damage in ("empty", "torn"):
        path.write_bytes(whole[: 0 if damage == "empty" else len(whole) - 8])
    else:
        stored = load_file(path)
        stored["factual"] = stored["factual"][:-1].clone()
        save_file(stored if damage == "short" else {"factual": stored["factual"]}, path)
    found = cached("a", "float32", pairs, lambda share: contrast(weights, share))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.factual, theirs.factual)
    assert path.read_bytes() == whole


def test_the_file_of_other_weights_is_not_these(
    model: ResolvedModel, pairs: list[PromptPair], cache: Path
) -> None:
    weights = load_causal_lm(model.folder, "float32")
    expected = cached("a", "float32", pairs, lambda share: contrast(weights, share))
    path = effects_path("a", "float32", pairs)
    other = effects_path("b", "float32", pairs)
    cached("b", "float32", pairs, lambda share: [Contrast(c.factual + 1, c.counterfactual) for c in expected])
    other.replace(path)
    found = cached("a", "float32", pairs, lambda share: contrast(weights, share))
    assert torch.equal(found[0].factual, expected[0].factual)


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


def test_a_full_disk_leaves_nothing_behind(
    model: ResolvedModel, pairs: list[PromptPair], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("perbench.disk.files.os.replace", full)
    weights = load_causal_lm(model.folder, "float32")
    with pytest.raises(OSError, match="No space left"):
        cached("a", "float32", pairs, lambda share: contrast(weights, share))
    assert not list(cache.iterdir())
    assert not effects_path("a", "float32", pairs).exists()
