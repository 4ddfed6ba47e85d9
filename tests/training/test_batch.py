"""Every path of a step against a slow one: one sequence at a time, full logits, plain autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from perbench.api import ReferenceLogp, TokenBatch, Trainer, View
from perbench.lm import contrast as contexts
from perbench.lm import head, padding
from perbench.lm.contrast import Contrast, contrast, joined
from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.lm.padding import batches
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import LoraSpec, TrainingSpec
from perbench.training import FitResult
from perbench.training.batch import TokenLoss, held_tokens, persona_free
from perbench.training.network import adapt
from perbench.training.plan import UpdatePlan

TRAINERS: dict[str, dict[str, Any]] = {
    "ce": {},
    "sft": {},
    "perce": {"clip_min": 0.1},
    # Effects of zero are common: a threshold of zero would let rounding decide.
    "nextquill": {"delta": 0.01},
    "nextquill live": {"effect_model": "live", "delta": 0.01, "alpha": 1.0},
    "nextquill detached": {"detach_counterfactual": True, "alpha": 1.0, "delta": 0.01},
    "loss_ce": {"reference_model": "initial"},
    "entropy_ce": {},
    "long_ce": {},
    "dft": {},
    "deft": {},
    "dpo": {},
}
FEW = 4
"""Examples where every trainer is run: of several lengths, in more than one micro-batch of 70 tokens."""


@dataclass
class Slow:
    """`perbench.api.TokenBatch` from the model's own logits, all of them."""

    model: Any
    trainer: Any
    pairs: Sequence[PromptPair]
    given: Sequence[Contrast] | None
    progress: float = 0.0

    def __post_init__(self) -> None:
        self.sides = [side for pair in self.pairs for side in pair.sides]
        self.targets = torch.tensor([token for side in self.sides for token in side.response])
        counts = torch.tensor([len(pair.response) + len(pair.rejected) for pair in self.pairs])
        self.example = torch.arange(len(self.pairs)).repeat_interleave(counts)

    @property
    def rejected(self) -> Tensor:
        parts = [torch.full((len(side.response),), place % 2 == 1) for place, side in enumerate(self.sides)]
        return torch.cat(parts)

    def logits(self, context: str) -> Tensor:
        parts = []
        for pair in self.sides:
            prompt = getattr(pair, context)
            ids = torch.tensor([[*prompt, *pair.response]])
            parts.append(self.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1])
        return torch.cat(parts)

    def logp(self, logits: Tensor) -> Tensor:
        return logits.float().log_softmax(-1)[torch.arange(len(self.targets)), self.targets]

    @property
    def factual(self) -> View:
        return View(self.logp(self.logits("factual")), torch.zeros(0))

    @property
    def counterfactual(self) -> View:
        with torch.set_grad_enabled(self.trainer.counterfactual == "grad"):
            return View(self.logp(self.logits("counterfactual")), torch.zeros(0))

    @property
    def entropy(self) -> Tensor:
        logp = self.logits("factual").detach().float().log_softmax(-1)
        return -(logp.exp() * logp).sum(-1)

    @property
    def collision(self) -> Tensor:
        return self.logits("factual").detach().float().softmax(-1).square().sum(-1)

    def watch(self, name: str, values: Tensor, bounds: tuple[float, float] | None = None) -> None:
        assert values.shape == self.targets.shape

    @property
    def reference(self) -> ReferenceLogp:
        assert self.given is not None
        return ReferenceLogp(
            torch.cat([part.factual for part in self.given]),
            torch.cat([part.counterfactual for part in self.given]),
        )

    def difference_logp(self, *, detach_counterfactual: bool = False) -> Tensor:
        free = self.logits("counterfactual")
        return self.logp(self.logits("factual") - (free.detach() if detach_counterfactual else free))


def update(
    model: Any, trainer: Any, pairs: Sequence[PromptPair], budget: int, region: Any = nullcontext
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of one update, cut as the training loop cuts it."""
    given = initial(model, trainer, pairs)
    loss = TokenLoss(model, trainer, region)
    model.zero_grad()
    sums = torch.zeros(2)
    free = persona_free(loss, trainer, pairs, budget)
    for group in batches([held_tokens(trainer, pair) for pair in pairs], budget):
        numerator, denominator = loss(
            [pairs[i] for i in group],
            given and [given[i] for i in group],
            0.0,
            free and [free[i] for i in group],
        )
        numerator.backward()
        sums += torch.stack([numerator.detach(), denominator])
    return sums[0] / sums[1], {n: p.grad / sums[1] for n, p in model.named_parameters() if p.grad is not None}


def initial(model: Any, trainer: Any, pairs: Sequence[PromptPair]) -> list[Contrast] | None:
    if trainer.reference() is None:
        return None
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.9)  # another model than the one in training
    return [joined(contrast(other, pair.sides)) for pair in pairs]


def examples(trainer: Any, pairs: Sequence[PromptPair]) -> list[PromptPair]:
    """A few, as the trainer reads them: for one of pairs, another's response is the rejected one."""
    if trainer.examples == "responses":
        return list(pairs[:FEW])
    return [replace(pairs[i], rejected=pairs[i + 1].response) for i in range(FEW)]


def slow_update(
    model: Any, trainer: Any, pairs: Sequence[PromptPair], region: Any = nullcontext
) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    given = initial(model, trainer, pairs)
    with region():
        numerator, denominator = trainer.loss(Slow(model, trainer, pairs, given))
    loss = numerator.sum() / denominator.sum()
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(
    found: tuple[Tensor, dict[str, Tensor]],
    expected: tuple[Tensor, dict[str, Tensor]],
    tolerance: float = 1e-5,
) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=0)
    assert found[1].keys() == expected[1].keys()
    scale = max(gradient.norm() for gradient in expected[1].values())
    assert scale > 0
    for name, gradient in expected[1].items():
        gap = (found[1][name] - gradient).norm()
        # A bias that shifts all scores of an attention row has a gradient of zero: rounding alone remains.
        assert gap <= tolerance * max(gradient.norm(), 1e-2 * scale), (name, gap, gradient.norm())


def plugin(label: str) -> Any:
    return load_trainer(label.split()[0], TRAINERS[label])


@pytest.fixture(scope="module")
def llama(model: ResolvedModel) -> Any:
    return load_causal_lm(model.folder, "float32")


def small(kind: str, **options: Any) -> Any:
    """Two layers of a family: rotary or learned positions, tied or not, biased, capped, windowed."""
    import transformers

    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "initializer_range": 0.3,
    }
    if kind == "Phi":
        sizes["num_key_value_heads"] = 2
    config = getattr(transformers, f"{kind}Config")(**{**sizes, **options})
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


FAMILIES: dict[str, Callable[[], Any]] = {
    "tied": lambda: small("Qwen3", head_dim=16, tie_word_embeddings=True),
    "untied": lambda: small("Qwen3", head_dim=16, tie_word_embeddings=False),
    "biased head": lambda: small("Phi", resid_pdrop=0.0),
    "soft-capped": lambda: small("Gemma2", head_dim=16, final_logit_softcapping=6.0),
    "sliding window": lambda: small("Mistral", sliding_window=5),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("label", ["perce", "nextquill", "nextquill detached", "entropy_ce", "deft"])
def test_families(pairs: list[PromptPair], family: str, label: str) -> None:
    network, trainer = FAMILIES[family](), plugin(label)
    expected = slow_update(network, trainer, pairs[:FEW])
    assert_same(update(network, trainer, pairs[:FEW], 70), expected, 2e-5)


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, llama: Any) -> Any:
    """The model, and what is changed about how a step is computed."""
    network = llama
    if request.param == "packed":
        monkeypatch.setattr(contexts, "packs", lambda body: True)
        monkeypatch.setattr("perbench.training.batch.packs", lambda body: True)
    elif request.param == "padded":
        monkeypatch.setitem(padding.SLACK, "cpu", 1e9)
    elif request.param == "one by one":
        monkeypatch.setitem(padding.SLACK, "cpu", 0.0)
    elif request.param == "chunked":
        monkeypatch.setattr(head, "KEEP", 0)
    elif request.param != "chunked":
        method, checkpointing = request.param.partition("checkpointed")[:2]
        spec = TrainingSpec(
            method="lora" if method else "full",
            lora=LoraSpec(rank=4),
            gradient_checkpointing=bool(checkpointing),
        )
        network = adapt(copy.deepcopy(llama), spec, 0)
        with torch.random.fork_rng():
            for name, parameter in network.named_parameters():
                if "lora_" in name:  # B begins as zero, and A then has no gradient
                    parameter.data.normal_(std=0.1)
    else:
        monkeypatch.setattr(head, "KEEP", 0)
    return network


WAYS = ["packed", "padded", "one by one", "chunked", "checkpointed", "lora", "lora, checkpointed"]


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("label", TRAINERS)
def test_ways(pairs: list[PromptPair], way: Any, label: str) -> None:
    trainer = plugin(label)
    chosen = examples(trainer, pairs)
    expected = slow_update(way, trainer, chosen)
    for budget in (70, 10_000):
        assert_same(update(way, trainer, chosen, budget), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("label", TRAINERS)
def test_half_precision_follows_float32(
    llama: Any, pairs: list[PromptPair], label: str, dtype: torch.dtype
) -> None:
    """Under autocast, over float32 weights: no further from float32 than the plain way is, but for noise."""
    trainer = plugin(label)
    region = lambda: torch.autocast("cpu", dtype=dtype)  # noqa: E731
    chosen = examples(trainer, pairs)
    exact, plain = slow_update(llama, trainer, chosen), slow_update(llama, trainer, chosen, region)
    ours = update(llama, trainer, chosen, 70, region)
    assert ours[0].dtype == torch.float32
    error, least = (
        torch.stack([(run[1][name] - exact[1][name]).norm() for name in exact[1]]).norm()
        for run in (ours, plain)
    )
    size = torch.stack([gradient.norm() for gradient in exact[1].values()]).norm()
    assert error <= 1.5 * least + 0.01 * size
    assert abs(ours[0] - exact[0]) <= 1.5 * abs(plain[0] - exact[0]) + 0.01 * abs(exact[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision(llama: Any, pairs: list[PromptPair], dtype: torch.dtype) -> None:
    network = copy.deepcopy(llama).to(dtype)
    for label in ("perce", "nextquill live"):
        ours = update(network, plugin(label), pairs, 70)
        slow = slow_update(network, plugin(label), pairs)
        torch.testing.assert_close(ours[0].float(), slow[0].float(), rtol=0.03, atol=0)
        assert {gradient.dtype for gradient in ours[1].values()} <= {dtype, torch.float32}
        assert all(gradient.isfinite().all() for gradient in ours[1].values())


class Seen(Trainer):
    """CE that notes which examples each micro-batch held, by their responses."""

    seen: ClassVar[list[list[tuple[int, ...]]]] = []

    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        parts = batch.targets.split(batch.example.bincount().tolist())
        self.seen.append([tuple(part.tolist()) for part in parts])
        return -batch.factual.logp, torch.ones_like(batch.factual.logp)


def test_lengths_order_an_update_but_do_not_choose_it(
    train: Callable[..., FitResult], pairs: list[PromptPair], spec: TrainingSpec
) -> None:
    """Each epoch is a fresh draw of all examples; sorting happens among an update's own."""
    Seen.seen.clear()
    train(Seen(), epochs=4, micro_batch_tokens=70)
    place = {pair.response: index for index, pair in enumerate(pairs)}
    passes = [[place[response] for response in part] for part in Seen.seen]
    stream = iter(passes)
    plan = UpdatePlan(len(pairs), spec.model_copy(update={"epochs": 4}), 0)
    epochs: list[int] = []
    for step in range(plan.steps):
        members = plan.batch(step)
        found: list[int] = []
        while len(found) < len(members):
            found += next(stream)
        assert sorted(found) == sorted(members)
        lengths = [len(pairs[i].factual) + len(pairs[i].response) for i in found]
        assert lengths == sorted(lengths, reverse=True)
        epochs += members
    orders = [epochs[first : first + 10] for first in range(0, 40, 10)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def forwards(body: Any) -> tuple[list[tuple[int, ...]], Any]:
    shapes: list[tuple[int, ...]] = []
    hook = body.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    return shapes, hook


def test_the_pass_without_persona_runs_once_an_update(llama: Any, pairs: list[PromptPair]) -> None:
    trainer = plugin("perce")
    loss = TokenLoss(llama, trainer, nullcontext)
    loss(pairs[:1], None)
    shapes, hook = forwards(llama.model)
    free = persona_free(loss, trainer, [*pairs, *pairs], 100_000)
    assert free is not None
    assert sum(rows for rows, _ in shapes) == len(pairs)
    assert max(width for _, width in shapes) < max(len(p.factual) + len(p.response) for p in pairs)
    shapes.clear()
    for index, pair in enumerate(pairs):
        loss([pair], None, 0.0, [free[index]])
    hook.remove()
    assert shapes == [(1, len(pair.factual) + len(pair.response) - 1) for pair in pairs]
    for one, other in zip(free[: len(pairs)], free[len(pairs) :], strict=True):
        assert torch.equal(one.logp, other.logp)
        assert not one.logp.requires_grad


@pytest.mark.parametrize("label", ["ce", "nextquill"])
def test_no_window_where_the_pass_is_not_wanted_or_carries_gradient(
    llama: Any, pairs: list[PromptPair], label: str
) -> None:
    assert persona_free(TokenLoss(llama, plugin(label), nullcontext), plugin(label), pairs, 100) is None


@pytest.mark.parametrize("alpha", [0.05, 0.0])
def test_flash_attention_reads_the_contexts_that_are_needed_in_one_pass(
    llama: Any, pairs: list[PromptPair], monkeypatch: pytest.MonkeyPatch, alpha: float
) -> None:
    monkeypatch.setattr(contexts, "packs", lambda body: True)
    monkeypatch.setattr("perbench.training.batch.packs", lambda body: True)
    trainer = load_trainer("nextquill", {"alpha": alpha})
    given = contrast(llama, pairs)
    loss = TokenLoss(llama, trainer, nullcontext)
    shapes, hook = forwards(llama.model)
    loss(pairs, given)
    hook.remove()
    prompts = [(p, pair) for pair in pairs for p in (pair.factual, pair.counterfactual)[: 2 if alpha else 1]]
    unique = {(*prompt, *pair.response[:-1]) for prompt, pair in prompts}
    assert shapes == [(1, sum(map(len, unique)))]
