"""The chunked head: gradients by finite differences, values by plain logits, models it must refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from perbench.errors import PerbenchError
from perbench.lm import head as head_module
from perbench.lm.head import Head, body_and_head, kernel_logp

D, V, N = 5, 11, 7


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("keep", [0, head_module.KEEP])
def test_gradients_of_hidden_weight_and_bias(
    monkeypatch: pytest.MonkeyPatch, softcap: float | None, bias: bool, rows: int, keep: int
) -> None:
    monkeypatch.setattr(head_module, "KEEP", keep)
    target = torch.randint(V, (N,))
    hidden, other, weight = drawn(N, D), drawn(N, D), drawn(V, D)
    offset = drawn(V) if bias else None

    def logp(hidden: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        return Head(weight, offset, softcap, torch.float64).logp(hidden, target, rows=rows)

    def difference(hidden: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        head = Head(weight, offset, softcap, torch.float64)
        return head.difference_logp(hidden, other, target, rows=rows)

    assert torch.autograd.gradcheck(logp, (hidden, weight, offset))
    frozen = (weight.detach(), None if offset is None else offset.detach())
    assert torch.autograd.gradcheck(lambda h: logp(h, *frozen), (hidden,))
    assert torch.autograd.gradcheck(difference, (hidden, other, weight))


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("grad", [False, True])
def test_values_equal_plain_logits(softcap: float | None, grad: bool) -> None:
    target = torch.randint(V, (N,))
    hidden, other, weight, bias = drawn(N, D), drawn(N, D), drawn(V, D), drawn(V)

    def logits(states: Tensor) -> Tensor:
        raw = states @ weight.T + bias
        return raw if softcap is None else softcap * torch.tanh(raw / softcap)

    def chosen(z: Tensor) -> Tensor:
        return z.log_softmax(-1)[torch.arange(N), target]

    head = Head(weight, bias, softcap, torch.float64)
    with torch.set_grad_enabled(grad):
        logp, difference = (
            head.logp(hidden, target, rows=2),
            head.difference_logp(hidden, other, target, rows=2),
        )
    torch.testing.assert_close(logp, chosen(logits(hidden)))
    torch.testing.assert_close(difference, chosen(logits(hidden) - logits(other)))
    assert logp.requires_grad is grad


def test_log_probs_of_a_half_precision_head_are_float32() -> None:
    hidden, weight = torch.randn(N, D).bfloat16().requires_grad_(), torch.randn(V, D).bfloat16()
    target = torch.randint(V, (N,))
    logp = Head(weight, dtype=torch.bfloat16).logp(hidden, target)
    assert logp.dtype == torch.float32
    exact = (hidden.float() @ weight.float().T).log_softmax(-1)[torch.arange(N), target]
    torch.testing.assert_close(logp, exact, rtol=0, atol=0.05)
    logp.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("softcap", [None, 1.5])
def test_no_tokens_give_no_values(softcap: float | None) -> None:
    head, none = Head(torch.randn(V, D), None, softcap), torch.zeros(0, dtype=torch.int64)
    assert head.logp(torch.zeros(0, D), none).shape == (0,)
    assert head.difference_logp(torch.zeros(0, D), torch.zeros(0, D), none).shape == (0,)


def test_an_adapter_on_the_head_is_refused(tiny_model_dir: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    adapted = get_peft_model(model, LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM"))
    with pytest.raises(PerbenchError, match="plain linear head without adapters, found head Linear"):
        body_and_head(adapted)


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(PerbenchError, match="no body"):
        body_and_head(torch.nn.Linear(2, 2))


def test_a_model_that_scales_its_logits_elsewhere_is_refused() -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=8.0,
    )
    with pytest.raises(PerbenchError, match="GraniteForCausalLM: its logits are not its linear head's"):
        body_and_head(GraniteForCausalLM(config))


def test_log_probs_are_kept_only_while_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, target = torch.randn(N, D), torch.randn(V, D, requires_grad=True), torch.randint(V, (N,))

    def kept() -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            Head(weight).logp(hidden, target, rows=2)
        return sum(sizes)

    monkeypatch.setattr(head_module, "KEEP", N * V * 4 - 1)
    few = kept()
    monkeypatch.setattr(head_module, "KEEP", N * V * 4)
    assert kept() == few + N * V


@pytest.mark.parametrize("softcap", [None, 1.5])
def test_the_maintained_kernel_agrees(softcap: float | None) -> None:
    target, weights = torch.randint(V, (N,)), torch.rand(N)
    leaves = [torch.randn(*size, requires_grad=True) for size in ((N, D), (V, D), (V,))]
    hidden, weight, bias = leaves
    ours = Head(weight, bias, softcap).logp(hidden, target)
    theirs = kernel_logp(hidden, weight, bias, target, softcap)
    torch.testing.assert_close(theirs, ours)
    gradients = [torch.autograd.grad((logp * weights).sum(), leaves) for logp in (ours, theirs)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, mine)
