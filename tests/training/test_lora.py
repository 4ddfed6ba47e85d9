"""LoRA's layer against peft's own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.specs.matrix import LoraSpec, TrainingSpec
from perbench.training.network import adapt


def step(model: Any, region: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and gradients, from adapters that are all nonzero."""
    generator = torch.Generator().manual_seed(0)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for _, parameter in sorted(trained.items()):
        parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    with region:
        logits = model(input_ids=torch.arange(3, 33).view(2, 15)).logits.float()
    logits.log_softmax(-1)[..., 7].sum().backward()
    return logits.detach(), {name: p.grad for name, p in trained.items()}


SPEC = TrainingSpec(lora=LoraSpec(rank=4, alpha=12))


def ours(model: ResolvedModel, dtype: torch.dtype, region: Any = nullcontext()) -> Any:  # noqa: B008
    return step(adapt(load_causal_lm(model.folder, dtype), SPEC, 0), region)


def peft(model: ResolvedModel, dtype: torch.dtype, region: Any = nullcontext()) -> Any:  # noqa: B008
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=12, target_modules="all-linear")
    return step(get_peft_model(load_causal_lm(model.folder, dtype), config).eval(), region)


def test_as_peft(model: ResolvedModel) -> None:
    (logits, gradients), (expected, theirs) = ours(model, torch.float32), peft(model, torch.float32)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == theirs.keys()
    assert len(theirs) > 10
    for name, gradient in theirs.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() != 0, name


def test_autocast_is_no_further_from_float32_than_peft(model: ResolvedModel) -> None:
    exact, _ = peft(model, torch.float32)
    errors = []
    for kind in (ours, peft):
        logits, gradients = kind(model, torch.bfloat16, torch.autocast("cpu", dtype=torch.bfloat16))
        assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
        errors.append((logits - exact).norm())
    assert errors[0] <= 1.2 * errors[1]
