"""NextQuill's published loss, and means over examples, against independent code in float64."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perbench.api import View
from perbench.errors import PerbenchError
from perbench.lm.contrast import contrast
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.training.batch import TokenLoss, by_example
from tests.trainers.test_gold import HIDDEN, Tokens
from tests.trainers.test_reference import assert_same, logits, other_model

LENGTHS = [4, 1, 7]
PUBLISHED = {
    "effect_model": "live",
    "normalise": "example_weight_sum",
    "causal_weight": "uniform",
    "alpha": 0.1,
}


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Logits with and without the history [N, V], and targets; most effects are near the threshold."""
    generator = torch.Generator().manual_seed(3)
    with_history = torch.randn(sum(LENGTHS), 9, generator=generator, dtype=torch.float64)
    noise = torch.randn(with_history.shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(9, (sum(LENGTHS),), generator=generator)
    return with_history.requires_grad_(), (with_history.detach() + noise).requires_grad_(), targets


def tokens_of(z_h: Tensor, z_0: Tensor, targets: Tensor) -> Tokens:
    def logp(z: Tensor) -> Tensor:
        return z.log_softmax(-1).gather(1, targets[:, None])[:, 0]

    example = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    no_reference: Any = None
    return Tokens(
        View(logp(z_h), HIDDEN), View(logp(z_0), HIDDEN), no_reference, logp(z_h - z_0), targets, example
    )


def published(z_h: Tensor, z_0: Tensor, targets: Tensor, padding: int = 3) -> Tensor:
    """One micro-batch of the published trainer: one example whose prompt and padding have the label -100.
    The weight is lam where p_h - p_0 > 0.05, else eps, over its sum; the difference of the logits has the
    plain mean of cross-entropy, times 0.1."""
    blank = torch.zeros(padding, z_h.shape[1], dtype=torch.float64)
    z_h, z_0 = torch.cat([blank, z_h]), torch.cat([blank, z_0])
    labels = torch.cat([torch.full((padding,), -100), targets])
    rows, known = torch.arange(len(labels)), labels.clamp(min=0)
    effect = z_h.softmax(-1)[rows, known] - z_0.softmax(-1)[rows, known]
    weight = torch.where(effect > 0.05, effect.new_tensor(0.9), effect.new_tensor(0.1))
    weight = torch.where(labels > -100, weight, 0)
    weight = weight / weight.sum()
    loss = (weight * F.cross_entropy(z_h, labels, reduction="none")).sum()
    return loss + 0.1 * F.cross_entropy(z_h - z_0, labels)


def test_nextquills_published_loss(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    numerator, denominator = load_trainer("nextquill", PUBLISHED).loss(tokens_of(*drawn))
    ours = numerator.sum() / denominator.sum()
    assert denominator.sum().item() == pytest.approx(len(LENGTHS), abs=1e-12)
    found = torch.autograd.grad(ours, drawn[:2])

    theirs = torch.stack([published(*part) for part in zip(*(t.split(LENGTHS) for t in drawn), strict=True)])
    torch.testing.assert_close(ours, theirs.mean(), rtol=1e-12, atol=0)
    for gradient, expected in zip(found, torch.autograd.grad(theirs.mean(), drawn[:2]), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


def test_the_other_published_loss_weighs_no_token(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    """Its `causal` branch: plain cross-entropy of both."""
    params = {**PUBLISHED, "lam": 1.0, "eps": 1.0}
    numerator, denominator = load_trainer("nextquill", params).loss(tokens_of(*drawn))
    parts = zip(*(t.split(LENGTHS) for t in drawn), strict=True)
    theirs = [F.cross_entropy(h, y) + 0.1 * F.cross_entropy(h - o, y) for h, o, y in parts]
    torch.testing.assert_close(
        numerator.sum() / denominator.sum(), torch.stack(theirs).mean(), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("causal_weight", ["omega", "uniform"])
@pytest.mark.parametrize("normalise", ["paper", "example_weight_sum"])
def test_nextquills_weights(drawn: tuple[Tensor, Tensor, Tensor], normalise: str, causal_weight: str) -> None:
    params = {**PUBLISHED, "normalise": normalise, "causal_weight": causal_weight}
    tokens = tokens_of(*drawn)
    numerator, denominator = load_trainer("nextquill", params).loss(tokens)
    p_h, p_0 = tokens.factual.logp.exp(), tokens.counterfactual.logp.exp()
    total = 0.0
    start = 0
    for length in LENGTHS:
        place = range(start, start + length)
        omega = [0.9 if (p_h[t] - p_0[t]).item() > 0.05 else 0.1 for t in place]
        causal = omega if causal_weight == "omega" else [1.0] * length
        one, other = (sum(omega), sum(causal)) if normalise == "example_weight_sum" else (1, 1)
        total -= sum(w * tokens.factual.logp[t].item() for w, t in zip(omega, place, strict=True)) / one
        total -= (
            0.1 * sum(w * tokens.difference[t].item() for w, t in zip(causal, place, strict=True)) / other
        )
        start += length
    assert (numerator.sum() / denominator.sum()).item() == pytest.approx(total / len(LENGTHS), rel=1e-12)


def test_an_example_without_weight_adds_nothing(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    params = {**PUBLISHED, "causal_weight": "omega", "eps": 0.0, "delta": 2.0}
    numerator, _ = load_trainer("nextquill", params).loss(tokens_of(*drawn))
    assert numerator.tolist() == [0.0] * sum(LENGTHS)


def test_uniform_weights_have_no_sum_of_weights_to_be_divided_by() -> None:
    with pytest.raises(
        PerbenchError, match=r"causal_weight=uniform .*normalise=weight_sum.*example_weight_sum"
    ):
        load_trainer("nextquill", {"causal_weight": "uniform"})
    with pytest.raises(PerbenchError, match="normalise='example'"):
        load_trainer("nextquill", {"normalise": "example"})
    with pytest.raises(PerbenchError, match="causal_weight='equal'"):
        load_trainer("nextquill", {"causal_weight": "equal"})


# ---------------------------------------------------------------- reduce: examples


def by_hand(model: Any, pairs: list[PromptPair], clip: tuple[float, float] | None) -> Tensor:
    """The mean over examples of PerCE's Eq. 4 (of cross-entropy without `clip`)."""
    means = []
    for pair in pairs:
        z_h, z_0 = (
            logits(model, pair.factual, pair.response),
            logits(model, pair.counterfactual, pair.response),
        )
        terms = []
        for t, y in enumerate(pair.response):
            log_p = z_h[t].log_softmax(-1)[y]
            pir = (log_p - z_0[t].log_softmax(-1)[y]).item()
            weight = 1.0 if clip is None else min(max(pir, clip[0]), clip[1])
            terms.append(-weight * log_p)
        means.append(torch.stack(terms).mean())
    return torch.stack(means).mean()


@pytest.mark.parametrize(("name", "clip"), [("ce", None), ("perce", (0.8, 5.0))])
def test_a_mean_over_examples(llama: Any, pairs: list[PromptPair], name: str, clip: Any) -> None:
    assert len({len(pair.response) for pair in pairs}) > 1
    loss = TokenLoss(llama, load_trainer(name, {}), nullcontext, "examples")
    numerator, denominator = loss(pairs, None)
    assert denominator.item() == len(pairs)
    assert_same(llama, numerator / denominator, by_hand(llama, pairs, clip))
    parts = [loss([pair], None) for pair in pairs]
    again = torch.stack([part[0] for part in parts]).sum() / torch.stack([part[1] for part in parts]).sum()
    assert_same(llama, again, by_hand(llama, pairs, clip))
    tokens = TokenLoss(llama, load_trainer(name, {}), nullcontext)(pairs, None)
    assert (tokens[0] / tokens[1]).item() != pytest.approx((numerator / denominator).item(), rel=1e-4)


def test_nextquill_by_examples_is_normalised_by_each_examples_weights(
    llama: Any, pairs: list[PromptPair]
) -> None:
    def value(normalise: str, reduce: Any) -> Tensor:
        trainer = load_trainer("nextquill", {"normalise": normalise, "delta": 0.02})
        numerator, denominator = TokenLoss(llama, trainer, nullcontext, reduce)(pairs, reference)
        return numerator / denominator

    reference = contrast(other_model(llama), pairs)
    assert_same(llama, value("weight_sum", "examples"), value("example_weight_sum", "tokens"))
    assert_same(llama, value("example_weight_sum", "examples"), value("example_weight_sum", "tokens"))


def test_examples_without_weight_are_not_counted() -> None:
    numerator = torch.tensor([1.0, 2.0, 9.0, 4.0], requires_grad=True)
    above, counted = by_example(numerator, torch.tensor([1, 1, 0, 2]), [2, 1, 1])
    assert above.tolist() == [1.5, 0, 2]
    assert counted.tolist() == [True, False, True]
    above.sum().backward()
    assert numerator.grad is not None
    assert numerator.grad.tolist() == [0.5, 0.5, 0, 0.5]
