"""DPO by hand, against TRL's formula in float64, and against a model's full logits."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perbench.api import ReferenceLogp, View
from perbench.errors import PerbenchError
from perbench.lm.contrast import Contrast, contrast, joined
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.training.batch import TokenLoss
from tests.trainers.test_gold import HIDDEN, Tokens
from tests.trainers.test_reference import assert_same, logits, other_model

LENGTHS = [(4, 2), (1, 1), (3, 7)]
"""Tokens of the chosen and the rejected answer."""


def batch(ours: Tensor, reference: Tensor) -> Tokens:
    absent: Any = None
    sizes = torch.tensor(LENGTHS)
    example = torch.repeat_interleave(torch.arange(len(LENGTHS)), sizes.sum(1))
    rejected = torch.repeat_interleave(torch.tensor([False, True]).repeat(len(LENGTHS)), sizes.flatten())
    seen = ReferenceLogp(reference, reference)
    return Tokens(
        View(ours, HIDDEN), absent, seen, absent, torch.zeros(len(ours)), example, rejected=rejected
    )


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    count = sum(map(sum, LENGTHS))
    ours, reference = (-3 * torch.rand(count, generator=generator, dtype=torch.float64) for _ in range(2))
    return ours.requires_grad_(), reference


def test_one_pair_by_hand() -> None:
    """Chosen: log p -1, -1 (reference -1.5, -1); rejected: -3 (-2.8). Margin .1 (.5 + .2) = .07, so the loss
    is ln(1 + e^-.07) = .658759 and its gradient by a chosen token's log p is -.1 sigmoid(-.07) = -.048251."""
    ours = torch.tensor([-1.0, -1.0, -3.0], dtype=torch.float64, requires_grad=True)
    absent: Any = None
    tokens = Tokens(
        View(ours, HIDDEN),
        absent,
        ReferenceLogp(torch.tensor([-1.5, -1.0, -2.8], dtype=torch.float64), ours.detach()),
        absent,
        torch.zeros(3),
        torch.zeros(3, dtype=torch.long),
        rejected=torch.tensor([False, False, True]),
    )
    numerator, denominator = load_trainer("dpo", {}).loss(tokens)
    assert numerator.sum().item() == pytest.approx(math.log(1 + math.exp(-0.07)))
    assert numerator.sum().item() == pytest.approx(0.658759, abs=1e-6)
    assert denominator.sum().item() == pytest.approx(1)
    numerator.sum().backward()
    assert ours.grad is not None
    assert ours.grad.tolist() == pytest.approx([-0.048251, -0.048251, 0.048251], abs=1e-6)
    assert tokens.watched["margin"][0].tolist() == pytest.approx([0.07] * 3)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_trls_formula(drawn: tuple[Tensor, Tensor], beta: float) -> None:
    """`-F.logsigmoid(beta * (logratios - ref_logratios))`, the mean over pairs."""
    ours, reference = drawn
    numerator, denominator = load_trainer("dpo", {"beta": beta}).loss(batch(ours, reference))
    assert denominator.sum().item() == pytest.approx(len(LENGTHS), abs=1e-12)
    flat = [length for pair in LENGTHS for length in pair]
    chosen, rejected = (torch.stack([part.sum() for part in ours.split(flat)][side::2]) for side in (0, 1))
    seen = [part.sum() for part in reference.split(flat)]
    logratios = chosen - rejected
    ref_logratios = torch.stack(seen[0::2]) - torch.stack(seen[1::2])
    theirs = -F.logsigmoid(beta * (logratios - ref_logratios)).mean()
    found = numerator.sum() / denominator.sum()
    torch.testing.assert_close(found, theirs, rtol=1e-12, atol=0)
    (one,), (other,) = (torch.autograd.grad(loss, ours, retain_graph=True) for loss in (found, theirs))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_before_training_the_loss_is_ln_2(drawn: tuple[Tensor, Tensor]) -> None:
    ours, _ = drawn
    numerator, denominator = load_trainer("dpo", {}).loss(batch(ours, ours.detach()))
    assert (numerator.sum() / denominator.sum()).item() == pytest.approx(math.log(2))


def slow(model: Any, initial: Any, pairs: list[PromptPair]) -> Tensor:
    losses = []
    for pair in pairs:
        sums = []
        for network in (model, initial):
            for response in (pair.response, pair.rejected):
                z = logits(network, pair.factual, response)
                sums.append(sum(z[t].log_softmax(-1)[y] for t, y in enumerate(response)))
        chosen, rejected, ref_chosen, ref_rejected = sums
        losses.append(
            -F.logsigmoid(0.1 * ((chosen - ref_chosen.detach()) - (rejected - ref_rejected.detach())))
        )
    return torch.stack(losses).mean()


def test_full_logits(llama: Any, pairs: list[PromptPair]) -> None:
    paired = [
        replace(pair, rejected=other.response)
        for pair, other in zip(pairs, [*pairs[1:], pairs[0]], strict=True)
    ]
    initial = other_model(llama)
    reference = [joined(contrast(initial, pair.sides)) for pair in paired]
    for reduce in ("tokens", "examples"):
        parts = TokenLoss(llama, load_trainer("dpo", {}), nullcontext, reduce)(paired, reference)  # type: ignore[arg-type]
        assert_same(llama, parts[0] / parts[1], slow(llama, initial, paired))


def test_rejected_tokens_are_for_trainers_of_pairs(llama: Any, pairs: list[PromptPair]) -> None:
    trainer = load_trainer("ce", {})
    trainer.loss = lambda batch: (batch.rejected, batch.rejected)  # type: ignore[method-assign]
    with pytest.raises(PerbenchError, match='declare examples = "pairs"'):
        TokenLoss(llama, trainer, nullcontext)(pairs, None)


def test_the_reference_of_a_pair_is_that_of_both_answers(llama: Any, pairs: list[PromptPair]) -> None:
    pair = replace(pairs[0], rejected=pairs[1].response)
    found = joined(contrast(llama, pair.sides))
    alone = [contrast(llama, [side])[0] for side in pair.sides]
    expected = Contrast(
        *(torch.cat(parts) for parts in zip(*((a.factual, a.counterfactual) for a in alone), strict=True))
    )
    torch.testing.assert_close(found.factual, expected.factual)
    torch.testing.assert_close(found.counterfactual, expected.counterfactual)
    assert len(found.factual) == pair.answer_tokens == len(pair.response) + len(pairs[1].response)
