"""Losses on numbers worked by hand: five tokens of two examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from perbench.api import ReferenceLogp, Trainer, View
from perbench.errors import PerbenchError
from perbench.plugins import load_trainer

HIDDEN = torch.zeros(5, 1)
P_WITH = [0.5, 0.9, 0.2, 0.1, 0.8]
P_WITHOUT = [0.25, 0.001, 0.19, 0.3, 0.1]
ENTROPY = [1.5, 0.25, 3.0, 0.5, 0.75]
COLLISION = [0.4, 0.82, 0.3, 0.5, 0.66]


@dataclass
class Tokens:
    """A TokenBatch of given numbers; `difference` is what difference_logp gives."""

    factual: View
    counterfactual: View
    reference: ReferenceLogp
    difference: Tensor
    targets: Tensor = field(default_factory=lambda: torch.arange(5))
    example: Tensor = field(default_factory=lambda: torch.tensor([0, 0, 0, 1, 1]))
    asked: list[bool] = field(default_factory=list)
    progress: float = 0.0
    entropy: Tensor = field(default_factory=lambda: torch.tensor(ENTROPY))
    collision: Tensor = field(default_factory=lambda: torch.tensor(COLLISION))
    rejected: Tensor = field(default_factory=lambda: torch.tensor([False, False, True, False, True]))
    watched: dict[str, Any] = field(default_factory=dict)

    def watch(self, name: str, values: Tensor, bounds: tuple[float, float] | None = None) -> None:
        assert not values.requires_grad
        self.watched[name] = values, bounds

    def difference_logp(self, *, detach_counterfactual: bool = False) -> Tensor:
        self.asked.append(detach_counterfactual)
        return self.difference


@pytest.fixture
def tokens() -> Tokens:
    factual = torch.tensor(P_WITH).log().requires_grad_()
    free = torch.tensor(P_WITHOUT).log().requires_grad_()
    # Under the reference the effects are .06, .04, -.5, .05 + tiny, .9: over 0.05 at tokens 0, 3 and 4.
    reference = ReferenceLogp(
        torch.tensor([0.26, 0.54, 0.25, 0.151, 0.95]).log(), torch.tensor([0.2, 0.5, 0.75, 0.1, 0.05]).log()
    )
    return Tokens(View(factual, HIDDEN), View(free, HIDDEN), reference, torch.tensor([-1.0, -2, -3, -4, -5]))


def terms(trainer: Trainer, tokens: Tokens) -> tuple[list[float], list[float]]:
    numerator, denominator = trainer.loss(tokens)
    return numerator.tolist(), denominator.tolist()


def test_ce_is_the_mean_negative_logp(tokens: Tokens) -> None:
    numerator, denominator = terms(load_trainer("ce", {}), tokens)
    assert numerator == pytest.approx([-log(p) for p in P_WITH])
    assert denominator == [1] * 5


def test_perce_clips_the_log_ratio_and_divides_by_tokens(tokens: Tokens) -> None:
    numerator, denominator = terms(load_trainer("perce", {}), tokens)
    # ln 2 = .69 and ln 1.05 and ln 1/3 are below 0.8; ln 900 = 6.8 is above 5; ln 8 = 2.08 stands.
    weights = [0.8, 5.0, 0.8, 0.8, log(8)]
    assert numerator == pytest.approx([-w * log(p) for w, p in zip(weights, P_WITH, strict=True)], rel=1e-5)
    assert denominator == [1] * 5


def test_perce_may_clip_the_likelihood_ratio(tokens: Tokens) -> None:
    numerator, _ = terms(load_trainer("perce", {"scale": "ratio", "clip_min": 0.5, "clip_max": 6}), tokens)
    weights = [2, 6, 0.2 / 0.19, 0.5, 6]
    assert numerator == pytest.approx([-w * log(p) for w, p in zip(weights, P_WITH, strict=True)], rel=1e-5)


def test_perce_weights_carry_no_gradient(tokens: Tokens) -> None:
    load_trainer("perce", {}).loss(tokens)[0].sum().backward()
    assert tokens.counterfactual.logp.grad is None
    assert tokens.factual.logp.grad is not None
    assert tokens.factual.logp.grad.tolist() == pytest.approx([-0.8, -5, -0.8, -0.8, -log(8)], rel=1e-5)


def expected(weights: list[float], alpha: float) -> list[float]:
    return [w * (-log(p) + alpha * t) for w, p, t in zip(weights, P_WITH, [1, 2, 3, 4, 5], strict=True)]


def test_nextquill_weighs_by_the_reference_and_divides_by_the_weights(tokens: Tokens) -> None:
    trainer = load_trainer("nextquill", {})
    numerator, denominator = terms(trainer, tokens)
    weights = [0.9, 0.1, 0.1, 0.9, 0.9]
    assert numerator == pytest.approx(expected(weights, 0.05), rel=1e-5)
    assert denominator == pytest.approx(weights)
    assert (trainer.reference(), tokens.asked) == ("initial", [False])


def test_nextquill_live_effects_are_differences_of_probabilities(tokens: Tokens) -> None:
    trainer = load_trainer("nextquill", {"effect_model": "live", "alpha": 0.1, "lam": 0.7, "eps": 0.2})
    numerator, denominator = terms(trainer, tokens)
    weights = [0.7, 0.7, 0.2, 0.2, 0.7]  # effects .25, .899, .01, -.2, .7
    assert numerator == pytest.approx(expected(weights, 0.1), rel=1e-5)
    assert denominator == pytest.approx(weights)
    assert trainer.reference() is None


def test_nextquill_live_weights_carry_no_gradient(tokens: Tokens) -> None:
    numerator, denominator = load_trainer("nextquill", {"effect_model": "live"}).loss(tokens)
    numerator.sum().backward()
    assert tokens.counterfactual.logp.grad is None
    assert tokens.factual.logp.grad is not None
    assert tokens.factual.logp.grad.tolist() == pytest.approx([-0.9, -0.9, -0.1, -0.1, -0.9])
    assert not denominator.requires_grad


def test_nextquill_as_the_paper_divides_by_examples(tokens: Tokens) -> None:
    numerator, denominator = terms(load_trainer("nextquill", {"normalise": "paper"}), tokens)
    assert numerator == pytest.approx(expected([0.9, 0.1, 0.1, 0.9, 0.9], 0.05), rel=1e-5)
    assert denominator == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    assert sum(denominator) == pytest.approx(2)


def test_nextquill_ablations(tokens: Tokens) -> None:
    norm_only, _ = terms(load_trainer("nextquill", {"alpha": 0.0}), tokens)
    assert norm_only == pytest.approx(expected([0.9, 0.1, 0.1, 0.9, 0.9], 0), rel=1e-5)
    assert tokens.asked == []  # so the pass without the persona is spared
    trainer = load_trainer("nextquill", {"lam": 1.0, "eps": 1.0, "alpha": 0.05})
    causal_only, _ = terms(trainer, tokens)
    assert causal_only == pytest.approx(expected([1] * 5, 0.05), rel=1e-5)
    assert trainer.reference() is None  # no effect is asked for, so none is computed


def test_perce_bounds_open_from_cross_entropy(tokens: Tokens) -> None:
    trainer = load_trainer("perce", {"open_over": 0.5})
    assert terms(trainer, tokens)[0] == pytest.approx([-log(p) for p in P_WITH])
    tokens.progress = 0.25  # half open: 0.9 and 3
    weights = [0.9, 3.0, 0.9, 0.9, log(8)]
    expected = [-w * log(p) for w, p in zip(weights, P_WITH, strict=True)]
    assert terms(trainer, tokens)[0] == pytest.approx(expected, rel=1e-5)
    assert tokens.watched["weight"][1] == pytest.approx((0.9, 3.0))
    for progress in (0.5, 1.0):
        tokens.progress = progress
        assert torch.equal(trainer.loss(tokens)[0], load_trainer("perce", {}).loss(tokens)[0])


def test_long_ce_weighs_by_the_likelihood_ratio_up_to_gamma(tokens: Tokens) -> None:
    numerator, denominator = terms(load_trainer("long_ce", {}), tokens)
    weights = [2.0, 5.0, 0.2 / 0.19, 1 / 3, 5.0]  # 900 and 8 are above 5
    assert numerator == pytest.approx([-w * log(p) for w, p in zip(weights, P_WITH, strict=True)], rel=1e-5)
    assert denominator == [1] * 5
    assert tokens.watched["weight"][0].tolist() == pytest.approx(weights, rel=1e-5)


def test_entropy_ce_weighs_by_the_entropy_of_the_prediction(tokens: Tokens) -> None:
    numerator, denominator = terms(load_trainer("entropy_ce", {}), tokens)
    assert numerator == pytest.approx([-h * log(p) for h, p in zip(ENTROPY, P_WITH, strict=True)], rel=1e-5)
    assert denominator == pytest.approx(ENTROPY)


def test_loss_ce_keeps_the_highest_losses_of_each_response(tokens: Tokens) -> None:
    # Losses .69, .11, 1.61 | 2.30, .22: of three the two highest (round(1.8)), of two the highest.
    numerator, denominator = terms(load_trainer("loss_ce", {"share": 0.6}), tokens)
    assert denominator == [1, 0, 1, 1, 0]
    assert numerator == pytest.approx([-log(0.5), 0, -log(0.2), -log(0.1), 0])
    assert terms(load_trainer("loss_ce", {"share": 0.01}), tokens)[1] == [0, 0, 1, 1, 0]
    assert terms(load_trainer("loss_ce", {"share": 1.0}), tokens)[1] == [1] * 5


def test_loss_ce_may_rank_by_excess_over_a_reference(tokens: Tokens) -> None:
    # log(ref / p): log(.26/.5) < 0, log(.54/.9) > that, log(.25/.2) > 0 | log(1.51), log(1.19)
    trainer = load_trainer("loss_ce", {"share": 0.34, "reference_model": "initial"})
    assert trainer.reference() == "initial"
    assert terms(trainer, tokens)[1] == [0, 0, 1, 1, 0]
    trainer = load_trainer("loss_ce", {"share": 0.67, "reference_model": "initial"})
    assert terms(trainer, tokens)[1] == [0, 1, 1, 1, 0]


def test_loss_ce_keeps_the_earlier_of_equal_tokens() -> None:
    logp = torch.full((6,), -1.0, requires_grad=True)
    tokens = Tokens(
        View(logp, HIDDEN), View(logp, HIDDEN), None, logp, example=torch.tensor([0] * 4 + [1] * 2)
    )  # type: ignore[arg-type]
    assert terms(load_trainer("loss_ce", {"share": 0.5}), tokens)[1] == [1, 1, 0, 0, 1, 0]


def predicted() -> tuple[Tensor, Tokens]:
    """Logits [3, 3] in float64, and the batch that they give for the targets 0, 0, 1."""
    rows = [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.34, 0.33, 0.33]]
    logits = torch.tensor(rows, dtype=torch.float64).log().requires_grad_()
    targets, absent = torch.tensor([0, 0, 1]), cast(Any, None)
    logp = logits.log_softmax(-1)
    view = View(logp.gather(1, targets[:, None])[:, 0], HIDDEN)
    example, collision = torch.zeros(3, dtype=torch.long), logp.detach().exp().square().sum(-1)
    return logits, Tokens(view, absent, absent, absent, targets, example, collision=collision)


# By hand: p = .7, .1, .33. DFT: p (-ln p). DEFT, a = sum P^2 = .54, .54, .3334: (1 - p^a) / a. The
# gradients by the logits are p (P - e_y) and p^a (P - e_y).
@pytest.mark.parametrize(
    ("name", "losses", "gradients"),
    [
        (
            "dft",
            [0.249672, 0.230259, 0.365859],
            [[-0.21, 0.14, 0.07], [-0.09, 0.02, 0.07], [0.1122, -0.2211, 0.1089]],
        ),
        (
            "deft",
            [0.324429, 1.317770, 0.926838],
            [
                [-0.247442, 0.164961, 0.082481],
                [-0.259562, 0.057681, 0.201882],
                [0.234936, -0.462963, 0.228026],
            ],
        ),
    ],
)
def test_dft_and_deft(name: str, losses: list[float], gradients: list[list[float]]) -> None:
    logits, tokens = predicted()
    numerator, denominator = load_trainer(name, {}).loss(tokens)
    assert numerator.tolist() == pytest.approx(losses, abs=2e-6)
    assert denominator.tolist() == [1] * 3
    numerator.sum().backward()
    assert logits.grad is not None
    for found, expected in zip(logits.grad.tolist(), gradients, strict=True):
        assert found == pytest.approx(expected, abs=2e-6)


def test_deft_lies_between_cross_entropy_and_one_minus_p(tokens: Tokens) -> None:
    trainer = load_trainer("deft", {})
    tokens.collision = torch.full((5,), 1e-3)
    nearly, _ = terms(trainer, tokens)  # a -> 0, but for the code's 1e-6
    assert nearly == pytest.approx([-log(p) for p in P_WITH], rel=3e-3)
    tokens.collision = torch.ones(5)
    assert terms(trainer, tokens)[0] == pytest.approx([1 - p for p in P_WITH], rel=1e-5)


def test_sft_is_the_mean_negative_logp_without_the_persona(tokens: Tokens) -> None:
    numerator, denominator = terms(load_trainer("sft", {}), tokens)
    assert numerator == pytest.approx([-log(p) for p in P_WITHOUT])
    assert denominator == [1] * 5


def test_nextquill_may_stop_the_gradient_of_the_counterfactual(tokens: Tokens) -> None:
    load_trainer("nextquill", {"detach_counterfactual": True}).loss(tokens)
    assert tokens.asked == [True]


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("perce", {"clip_min": 6.0}, "clip_min=6.0 is above clip_max=5.0"),
        ("perce", {"open_over": 1.5}, "open_over=1.5"),
        ("loss_ce", {"share": 0.0}, "share=0.0"),
        ("long_ce", {"gamma": 0.0}, "gamma=0.0"),
        ("perce", {"clip_mni": 1.0}, "unknown hyperparameter 'clip_mni'. Did you mean 'clip_min'"),
        ("perce", {"scale": "lin"}, "scale='lin'"),
        ("nextquill", {"eps": -0.1}, "eps=-0.1"),
        ("nextquill", {"normalise": "mean"}, "normalise='mean'"),
    ],
)
def test_bad_hyperparameters_are_named(name: str, params: dict[str, object], said: str) -> None:
    with pytest.raises(PerbenchError) as caught:
        load_trainer(name, params)
    assert said in str(caught.value)
