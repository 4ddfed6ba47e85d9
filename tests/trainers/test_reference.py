"""Losses and all gradients against a slow, obvious implementation of the papers' equations."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perbench.lm.contrast import contrast
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.training.batch import TokenLoss


def logits(model: Any, prompt: tuple[int, ...], response: tuple[int, ...]) -> Tensor:
    """[n, V]: what predicts each response token, from one sequence alone."""
    output: Tensor = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    return output[len(prompt) - 1 : -1]


def both(model: Any, pair: PromptPair) -> tuple[Tensor, Tensor]:
    return logits(model, pair.factual, pair.response), logits(model, pair.counterfactual, pair.response)


def ce_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    terms = []
    for pair in pairs:
        z = logits(model, pair.factual, pair.response)
        terms += [F.cross_entropy(z[t], torch.tensor(y)) for t, y in enumerate(pair.response)]
    return torch.stack(terms).mean(), []


def perce_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    """PerCE Eq. 2, 4, 5."""
    terms, ratios = [], []
    for pair in pairs:
        z_h, z_0 = both(model, pair)
        for t, y in enumerate(pair.response):
            log_p = torch.log_softmax(z_h[t], -1)[y]
            pir = (log_p - torch.log_softmax(z_0[t], -1)[y]).item()
            ratios.append(pir)
            terms.append(-min(max(pir, 0.8), 5.0) * log_p)
    return torch.stack(terms).sum() / len(terms), ratios


def nextquill_loss(
    model: Any,
    initial: Any,
    pairs: list[PromptPair],
    *,
    normalise: str = "weight_sum",
    delta: float,
    lam: float = 0.9,
    eps: float = 0.1,
    alpha: float = 0.05,
    detach: bool = False,
) -> tuple[Tensor, list[float]]:
    """NextQuill Eq. 3-7; `initial` gives the effect of Eq. 4."""
    per_example, weights = [], []
    for pair in pairs:
        z_h, z_0 = both(model, pair)
        with torch.no_grad():
            i_h, i_0 = both(initial, pair)
        total = torch.zeros(())
        for t, y in enumerate(pair.response):
            effect = (torch.softmax(i_h[t], -1)[y] - torch.softmax(i_0[t], -1)[y]).item()
            weight = lam if effect > delta else eps
            target, free = torch.tensor(y), z_0[t].detach() if detach else z_0[t]
            total = total + weight * F.cross_entropy(z_h[t], target)
            total = total + alpha * weight * F.cross_entropy(z_h[t] - free, target)
            weights.append(weight)
        per_example.append(total)
    divisor = len(pairs) if normalise == "paper" else sum(weights)
    return torch.stack(per_example).sum() / divisor, weights


def sft_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    terms = []
    for pair in pairs:
        z = logits(model, pair.counterfactual, pair.response)
        terms += [F.cross_entropy(z[t], torch.tensor(y)) for t, y in enumerate(pair.response)]
    return torch.stack(terms).mean(), []


def long_ce_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    """LongCE, arXiv 2410.23771: the short context is the persona-free one."""
    terms, weights = [], []
    for pair in pairs:
        z_h, z_0 = both(model, pair)
        for t, y in enumerate(pair.response):
            loss_full, loss_short = (F.cross_entropy(z[t], torch.tensor(y)) for z in (z_h, z_0))
            weights.append(min(math.exp((loss_short - loss_full).item()), 5.0))
            terms.append(weights[-1] * loss_full)
    return torch.stack(terms).sum() / len(terms), weights


def entropy_ce_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    terms, weights = [], []
    for pair in pairs:
        z = logits(model, pair.factual, pair.response)
        for t, y in enumerate(pair.response):
            weights.append(torch.distributions.Categorical(logits=z[t]).entropy().item())
            terms.append(weights[-1] * F.cross_entropy(z[t], torch.tensor(y)))
    return torch.stack(terms).sum() / sum(weights), weights


def dft_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    """arXiv 2508.05629; the published code: `loss * softmax(logits).gather(1, labels).detach()`, mean."""
    terms, weights = [], []
    for pair in pairs:
        z = logits(model, pair.factual, pair.response)
        for t, y in enumerate(pair.response):
            weights.append(z[t].softmax(-1)[y].item())
            terms.append(weights[-1] * F.cross_entropy(z[t], torch.tensor(y)))
    return torch.stack(terms).mean(), weights


def deft_loss(model: Any, _: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    """arXiv 2602.11424, its code without Cayley's transform."""
    terms, weights = [], []
    for pair in pairs:
        z = logits(model, pair.factual, pair.response)
        for t, y in enumerate(pair.response):
            p = z[t].softmax(-1)
            weights.append((p**2).sum().item())
            terms.append(-(p[y] ** weights[-1] - 1) / (weights[-1] + 1e-6))
    return torch.stack(terms).mean(), weights


def loss_ce_loss(model: Any, initial: Any, pairs: list[PromptPair]) -> tuple[Tensor, list[float]]:
    """Rho-1, arXiv 2404.07965, Eq. 3-5, with the tokens of each response ranked by themselves."""
    kept, weights = [], []
    for pair in pairs:
        z = logits(model, pair.factual, pair.response)
        losses = [F.cross_entropy(z[t], torch.tensor(y)) for t, y in enumerate(pair.response)]
        excess = [loss.item() for loss in losses]
        if initial is not None:
            i = logits(initial, pair.factual, pair.response)
            theirs = [F.cross_entropy(i[t], torch.tensor(y)).item() for t, y in enumerate(pair.response)]
            excess = [ours - other for ours, other in zip(excess, theirs, strict=True)]
        best = sorted(range(len(losses)), key=lambda t: -excess[t])[: max(1, round(0.6 * len(losses)))]
        kept += [losses[t] for t in best]
        weights += [float(t in best) for t in range(len(losses))]
    return torch.stack(kept).mean(), weights


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same(model: Any, found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    ours, theirs = gradients(model, found), gradients(model, expected)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 10
    scale = max(g.norm() for g in theirs.values())
    for name, gradient in theirs.items():
        gap = (ours[name] - gradient).norm()
        # A bias that shifts all scores of an attention row has a gradient of zero: rounding alone remains.
        assert gap <= 1e-5 * max(gradient.norm(), 1e-2 * scale), (name, gap, gradient.norm())


def loss_of(
    model: Any, name: str, params: dict[str, Any], pairs: list[PromptPair], initial: Any = None
) -> Tensor:
    trainer = load_trainer(name, params)
    reference = contrast(initial, pairs) if trainer.reference() else None
    numerator, denominator = TokenLoss(model, trainer, nullcontext)(pairs, reference)
    value: Tensor = numerator / denominator
    return value


@pytest.fixture(params=["llama", "gemma2", "phi"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_ce(model: Any, pairs: list[PromptPair]) -> None:
    assert_same(model, loss_of(model, "ce", {}, pairs), ce_loss(model, None, pairs)[0])


def test_perce(model: Any, pairs: list[PromptPair]) -> None:
    expected, ratios = perce_loss(model, None, pairs)
    inside = sum(0.8 < ratio < 5 for ratio in ratios)
    assert 0.2 * len(ratios) < inside < len(ratios)
    assert_same(model, loss_of(model, "perce", {}, pairs), expected)


@pytest.mark.parametrize(
    ("name", "slow"),
    [
        ("sft", sft_loss),
        ("long_ce", long_ce_loss),
        ("entropy_ce", entropy_ce_loss),
        ("dft", dft_loss),
        ("deft", deft_loss),
    ],
)
def test_other_weights(model: Any, pairs: list[PromptPair], name: str, slow: Any) -> None:
    expected, weights = slow(model, None, pairs)
    if name == "long_ce":
        assert 0.2 < sum(weight < 5 for weight in weights) / len(weights) < 1
    assert_same(model, loss_of(model, name, {}, pairs), expected)


@pytest.mark.parametrize("reference", [None, "initial"])
def test_loss_ce(model: Any, pairs: list[PromptPair], reference: str | None) -> None:
    initial = other_model(model) if reference else None
    expected, weights = loss_ce_loss(model, initial, pairs)
    assert 0.5 < sum(weights) / len(weights) < 0.7
    assert_same(model, loss_of(model, "loss_ce", {"reference_model": reference}, pairs, initial), expected)


def other_model(model: Any) -> Any:
    """Not the one in training."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.9)
    return other


@pytest.mark.parametrize(
    "params", [{}, {"normalise": "paper"}, {"detach_counterfactual": True}, {"alpha": 1.0}]
)
@pytest.mark.parametrize("effect_model", ["initial", "live"])
def test_nextquill(model: Any, pairs: list[PromptPair], effect_model: str, params: dict[str, Any]) -> None:
    initial = other_model(model) if effect_model == "initial" else model
    expected, weights = nextquill_loss(
        model,
        initial,
        pairs,
        delta=0.02,
        normalise=params.get("normalise", "weight_sum"),
        alpha=params.get("alpha", 0.05),
        detach=params.get("detach_counterfactual", False),
    )
    assert 0.15 < weights.count(0.9) / len(weights) < 0.85
    found = loss_of(
        model, "nextquill", {"effect_model": effect_model, "delta": 0.02, **params}, pairs, initial
    )
    assert_same(model, found, expected)


@pytest.mark.parametrize(
    ("params", "terms"),
    [({"lam": 1.0, "eps": 1.0}, {"lam": 1.0, "eps": 1.0}), ({"alpha": 0.0}, {"alpha": 0.0})],
    ids=["CausalOnly", "NormOnly"],
)
def test_nextquill_ablations(
    llama: Any, pairs: list[PromptPair], params: dict[str, Any], terms: dict[str, Any]
) -> None:
    initial = other_model(llama)
    expected, _ = nextquill_loss(llama, initial, pairs, delta=0.02, **terms)
    assert_same(llama, loss_of(llama, "nextquill", {"delta": 0.02, **params}, pairs, initial), expected)


@pytest.mark.parametrize("name", ["ce", "perce", "nextquill", "sft", "long_ce", "entropy_ce", "loss_ce"])
def test_micro_batches_add_up(llama: Any, pairs: list[PromptPair], name: str) -> None:
    trainer = load_trainer(name, {})
    reference = contrast(llama, pairs) if trainer.reference() else [None] * len(pairs)
    loss = TokenLoss(llama, trainer, nullcontext)
    whole = loss(pairs, reference if trainer.reference() else None)
    parts = [loss([p], [r] if trainer.reference() else None) for p, r in zip(pairs, reference, strict=True)]
    assert_same(
        llama,
        whole[0] / whole[1],
        torch.stack([part[0] for part in parts]).sum() / torch.stack([part[1] for part in parts]).sum(),
    )
