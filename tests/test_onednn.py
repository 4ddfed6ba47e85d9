"""Layers laid out for the processor compute what they did, and are as before once unpacked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perbench.conformance.tiny import write_model
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm import onednn
from perbench.lm.models import load_causal_lm
from perbench.lm.onednn import lay_out, restore
from perbench.shapes.sampling import SamplingSpec

pytestmark = pytest.mark.skipif(
    not onednn._gains(torch.ones(2, 2)),
    reason="torch has no oneDNN here",
)


def layers(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 80), nn.Linear(80, 33, bias=False)).to(dtype)


def laid_out(model: nn.Module) -> int:
    """Layers that compute with weights as they are now."""
    layers = [layer for layer in model.modules() if "laid_out" in vars(layer)]  # copies have none
    assert not any(onednn._changed(layer.source, layer.weight) for layer in layers)
    return len(layers)


@pytest.mark.parametrize("shape", [(48,), (1, 48), (7, 48), (2, 5, 48), (0, 48)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_products(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    model, given = layers(dtype), torch.randn(shape).to(dtype)
    with torch.inference_mode():
        before = model(given)
        lay_out(model)
        found = model(given)
    assert laid_out(model) in ((2,) if dtype == torch.float32 else (0, 2))  # not every CPU has bfloat16
    exact = torch.finfo(dtype).eps
    torch.testing.assert_close(found, before, atol=8 * exact, rtol=8 * exact)


def test_gradients_are_those_of_the_weights() -> None:
    model, given = layers(), torch.randn(7, 48)
    model(given).sum().backward()
    before = [weight.grad for weight in model.parameters()]
    model.zero_grad()
    lay_out(model)
    model(given).sum().backward()
    assert all(torch.equal(a, b.grad) for a, b in zip(before, model.parameters(), strict=True))


def test_restored_layers_follow_their_weights() -> None:
    model, given = layers(), torch.randn(7, 48)
    names = list(model.state_dict())
    lay_out(model)
    assert list(model.state_dict()) == names
    restore(model)
    assert not laid_out(model)
    with torch.inference_mode():
        for weight in model.parameters():
            weight.zero_()
        lay_out(model)
        assert not model(given).any()


def test_copies_and_other_types_compute_as_before() -> None:
    model, given = layers(), torch.randn(7, 48)
    lay_out(model)
    copied = copy.deepcopy(model)
    with torch.inference_mode():
        assert torch.equal(copied(given), layers()(given))
        with torch.autocast("cpu", torch.bfloat16):
            assert model(given).dtype == torch.bfloat16
        assert model.double()(given.double()).dtype == torch.float64
    with torch.no_grad():
        model.float()[1].weight.zero_()
        assert not model(given).any()


def test_what_gains_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    model = layers(torch.float64)
    lay_out(model)
    assert not laid_out(model)
    monkeypatch.setattr(onednn, "MOST", 100)
    model = layers()
    lay_out(model)
    assert not laid_out(model)


def test_without_room_for_copies_a_model_computes_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    reorder, calls = torch.ops.mkldnn._reorder_linear_weight, []

    def second_fails(*given: Any) -> Any:
        calls.append(given)
        if len(calls) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:125] can't allocate memory")
        return reorder(*given)

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", second_fails)
    model = layers()
    lay_out(model)
    assert len(calls) == 2
    assert not laid_out(model)
    assert {type(layer) for layer in model} == {nn.Linear}


def adapter(base: Path, place: Path, seed: int, **options: Any) -> Path:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(**{"target_modules": "all-linear", "init_lora_weights": False, **options})
    get_peft_model(load_causal_lm(base, "float32"), config).save_pretrained(str(place))
    return place


def seen(engine: TransformersEngine) -> tuple[list[str], list[float]]:
    """Texts, and log-probs bit for bit."""
    prompts = [tuple(range(5, 5 + length)) for length in (3, 9)]
    sampling = SamplingSpec(max_new_tokens=8, temperature=0.0)
    texts = [one.text for one in engine.generate(prompts, sampling, seed=0)]
    return texts, [float(one) for row in engine.score(prompts, [(7, 8), (9,)]) for one in row]


def test_weights_that_change_under_an_engine(tmp_path: Path) -> None:
    """The base has answered before an adapter is merged into it."""
    base = tmp_path / "base"
    write_model(base)
    trained = adapter(base, tmp_path / "adapter", 1)
    engine = TransformersEngine(base, dtype="float32")
    everything = laid_out(engine.model)
    assert everything > 1
    first = seen(engine)
    engine.load_adapter(trained)
    assert laid_out(engine.model) == everything
    merged = seen(engine)
    engine.load_adapter(None)
    assert seen(engine) == first
    fresh = TransformersEngine(base, dtype="float32")
    fresh.load_adapter(trained)
    assert seen(fresh) == merged
    assert merged[1] != first[1]


def test_users_get_the_same_numbers_in_any_order(tmp_path: Path) -> None:
    base = tmp_path / "base"
    write_model(base)
    users = [adapter(base, tmp_path / f"u{number}", number) for number in range(2)]
    users.append(adapter(base, tmp_path / "whole", 2, target_modules=["q_proj"], modules_to_save=["o_proj"]))
    alone = []
    for user in users:
        engine = TransformersEngine(base, dtype="float32")
        engine.load_adapter(None, user)
        alone.append(seen(engine))
    engine = TransformersEngine(base, dtype="float32")
    plain = seen(engine)
    everything = laid_out(engine.model)
    for user, expected in reversed([*zip(users, alone, strict=True)]):
        engine.load_adapter(None, user)
        assert seen(engine) == expected
        assert 0 < laid_out(engine.model) <= everything
    engine.load_adapter(None)
    assert seen(engine) == plain
    assert laid_out(engine.model) == everything
