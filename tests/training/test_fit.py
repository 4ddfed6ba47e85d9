"""What an update is: the papers' quotient over the whole batch, whatever the micro-batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from perbench.api import TokenBatch, Trainer
from perbench.errors import CellError, PerbenchError
from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import FitResult
from perbench.training.plan import UpdatePlan

Train = Callable[..., FitResult]


def weights(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(checkpoint.glob("*.safetensors"))}


def figures(result: FitResult) -> list[tuple[float, float]]:
    return [(entry["loss"], entry["grad_norm"]) for entry in result.log]


@pytest.mark.parametrize("trainer", ["ce", "perce", "nextquill"])
@pytest.mark.parametrize("changes", [{"micro_batch_tokens": 1}, {"micro_batch_tokens": 60}])
def test_any_split_gives_the_same_updates(train: Train, trainer: str, changes: dict[str, Any]) -> None:
    whole = train(trainer, folder="whole", micro_batch_tokens=100_000)
    split = train(trainer, folder="split", **changes, gradient_checkpointing=True)
    assert len(whole.log) == 5
    torch.testing.assert_close(figures(split), figures(whole), rtol=2e-4, atol=0)
    ours, theirs = (load_file(r.checkpoint / "adapter_model.safetensors") for r in (split, whole))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=0, atol=2e-4)


@pytest.mark.parametrize("reduce", ["tokens", "examples"])
@pytest.mark.parametrize("micro_batch_tokens", [1, 100_000])
def test_first_update_of_full_training_is_adamw_on_the_mean_loss(
    train: Train,
    model: ResolvedModel,
    pairs: list[PromptPair],
    spec: TrainingSpec,
    micro_batch_tokens: int,
    reduce: str,
) -> None:
    """transformers' own mean over each response, then the mean over tokens or over examples."""
    changes = {"micro_batch_tokens": micro_batch_tokens, "learning_rate": 1e-3, "reduce": reduce}
    result = train(method="full", epochs=0.4, weight_decay=0.1, **changes)
    network = load_causal_lm(model.folder, "float32")
    decay = [{"params": [p for p in network.parameters() if p.ndim > 1]}]
    rest = {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0}
    optimizer = torch.optim.AdamW([*decay, rest], 1e-3, (0.9, 0.999), weight_decay=0.1)
    losses = []
    for i in UpdatePlan(len(pairs), spec, 0).batch(0):
        ids = torch.tensor([[*pairs[i].factual, *pairs[i].response]])
        labels = ids.clone()
        labels[0, : len(pairs[i].factual)] = -100
        weight = len(pairs[i].response) if reduce == "tokens" else 1
        losses.append((network(input_ids=ids, labels=labels).loss, weight))
    loss = sum(mean * n for mean, n in losses) / sum(n for _, n in losses)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
    optimizer.step()
    assert result.log[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert result.log[0]["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
    trained = load_causal_lm(result.checkpoint, "float32")
    for (name, ours), theirs in zip(trained.named_parameters(), network.parameters(), strict=True):
        # Where a gradient is all but zero its sign, and so Adam's first step, is rounding.
        assert (ours - theirs).abs().gt(1e-5).float().mean() < 0.01, name


def test_result_holds_tokens_log_and_a_loadable_adapter(
    train: Train, model: ResolvedModel, pairs: list[PromptPair]
) -> None:
    from peft import PeftModel

    ticks: list[tuple[int, int, dict[str, float]]] = []
    result = train("perce", tick=lambda *args: ticks.append(args), epochs=1)
    response = sum(len(pair.response) for pair in pairs)
    assert result.tokens == {
        "response": response,
        "total": response + sum(len(pair.factual) for pair in pairs),
        "counterfactual": response + sum(len(pair.counterfactual) for pair in pairs),
    }
    assert [(done, total) for done, total, _ in ticks] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    watched = {"weight_mean", "weight_at_low", "weight_at_high"}
    assert set(ticks[-1][2]) == {"loss", "lr", "grad_norm", "tok/s", "MB"} | watched
    assert [set(entry) for entry in result.log] == [
        {"step", "loss", "lr", "grad_norm", "tokens_per_second"} | watched
    ] * 3
    assert result.steps == 3
    names = load_file(result.checkpoint / "adapter_model.safetensors")
    assert not [name for name in names if "lm_head" in name or "embed" in name]
    assert {name.split(".")[-3] for name in names} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    adapted = PeftModel.from_pretrained(load_causal_lm(model.folder, "float32"), result.checkpoint)
    assert any(p.abs().max() > 0 for n, p in adapted.named_parameters() if "lora_B" in n)


def test_training_lowers_the_loss_of_every_trainer(train: Train) -> None:
    for trainer in ("ce", "perce", "nextquill", "sft", "long_ce", "entropy_ce", "loss_ce", "deft"):
        log = train(trainer, folder=trainer, epochs=10, precision="bf16").log
        assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    # -p log p grows with p below 1/e, so that of dft does not fall from the start; p rises.
    log = train("dft", folder="dft", epochs=10, precision="bf16").log
    assert log[-1]["weight_mean"] > 1.2 * log[0]["weight_mean"]


def test_pairs_of_answers_are_learnt_and_their_reference_is_kept(
    train: Train, pairs: list[PromptPair], tmp_path: Path
) -> None:
    paired = [replace(pair, rejected=other.response) for pair, other in pairwise(pairs)]
    runs = [train("dpo", folder=name, epochs=10, examples=paired) for name in ("one", "again")]
    log = runs[0].log
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)  # it is the reference itself
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert log[-1]["margin_mean"] > 0.5
    assert runs[1].log[-1]["loss"] == log[-1]["loss"]  # with the reference's log-probs from the cache
    answers = sum(len(pair.response) + len(pair.rejected) for pair in paired)
    assert runs[0].tokens["response"] == 10 * answers
    assert runs[0].tokens["total"] == 10 * (answers + 2 * sum(len(pair.factual) for pair in paired))
    with pytest.raises(PerbenchError, match="example-0 has no rejected answer"):
        train("dpo", folder="none")


def test_same_seed_starts_every_trainer_from_the_same_adapter(train: Train) -> None:
    def drawn(name: str, seed: int) -> torch.Tensor:
        # A's gradient is zero while B is zero, so one update leaves it as it was drawn.
        run = train(name, folder=f"{name}{seed}", seed=seed, epochs=0.1, batch_size=1)
        stored = load_file(run.checkpoint / "adapter_model.safetensors")
        return torch.cat([stored[key].flatten() for key in sorted(stored) if "lora_A" in key])

    assert torch.equal(drawn("ce", 0), drawn("nextquill", 0))
    assert not torch.equal(drawn("ce", 1), drawn("ce", 0))


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("trainer", ["perce", "nextquill"])
def test_bf16_keeps_master_weights_and_follows_fp32(train: Train, method: str, trainer: str) -> None:
    exact = train(trainer, folder="fp32", method=method, learning_rate=1e-3)
    rough = train(trainer, folder="bf16", method=method, learning_rate=1e-3, precision="bf16")
    for ours, theirs in zip(rough.log, exact.log, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.03)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=0.15)
    for path in rough.checkpoint.glob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float32}


def test_reference_may_be_another_model(train: Train, tiny_model_dir: Path) -> None:
    own = train(load_trainer("nextquill", {}), folder="own")
    named = train(load_trainer("nextquill", {"effect_model": str(tiny_model_dir)}), folder="named")
    assert weights(named.checkpoint) == weights(own.checkpoint)


def line_of(function: Any) -> int:
    line: int = function.__code__.co_firstlineno
    return line


class Spoiled(Trainer):
    """CE until an update meets example 7 (its only response of this length); then what `kind` says."""

    counterfactual = "none"
    kind: str = "nan"

    def loss(self, batch: TokenBatch) -> Any:
        logp = batch.factual.logp
        numerator, denominator = -logp, torch.ones_like(logp)
        spoiled = bool((batch.targets == 7).any())
        if spoiled and self.kind == "nan":
            numerator = numerator * float("nan")
        if spoiled and self.kind == "infinite weight":
            denominator = denominator / 0
        if spoiled and self.kind == "gradient":
            numerator = numerator + (logp - logp).sqrt()
        if spoiled and self.kind == "weightless":
            denominator = denominator * 0
        if self.kind == "shape":
            return numerator[1:], denominator
        if self.kind == "one":
            return numerator
        if self.kind == "number":
            return numerator, 1
        if self.kind == "detached":
            return numerator.detach(), denominator
        if self.kind == "weight with gradient":
            return numerator, denominator * logp.exp()
        if self.kind == "watch":
            batch.watch("weight", logp[1:])
        if self.kind == "free":
            return -batch.counterfactual.logp, denominator
        if self.kind == "reference":
            return numerator - batch.reference.factual, denominator
        return numerator, denominator


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nan", "numerators that are NaN"),
        ("infinite weight", "denominators that are NaN"),
        ("gradient", "gradient norm nan"),
        ("weightless", "denominators sum to 0.0"),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_cell(
    train: Train, pairs: list[PromptPair], spec: TrainingSpec, tmp_path: Path, kind: str, said: str
) -> None:
    plan = UpdatePlan(len(pairs), spec, 0)
    bad = next(i for i in plan.batch(2) if i not in [*plan.batch(0), *plan.batch(1)])
    examples = [
        PromptPair(p.factual, p.counterfactual, tuple(8 if t == 7 else t for t in p.response), 1, 0)
        for p in pairs
    ]
    examples[bad] = PromptPair((5, 6), (6,), (7,), 1, 0)
    with pytest.raises(CellError) as caught:
        train(Spoiled(kind=kind), examples=examples)
    message = str(caught.value)
    kept = tmp_path / "run" / "step-000002"
    assert message.startswith("step 3 of 5")
    assert (f"test_fit.py:{line_of(Spoiled.loss)}: Spoiled.loss" in message) == (
        kind in ("nan", "infinite weight")
    )
    assert said in message
    assert f"example-{bad}" in message
    assert str(kept) in message
    assert json.loads((kept / "state.json").read_text())["step"] == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("shape", "must return two of shape"),
        ("one", "returned a Tensor; it must return two tensors"),
        ("number", r"returned \(Tensor, int\); it must return two tensors"),
        ("detached", "numerator without gradient"),
        ("weight with gradient", "denominator with gradient"),
        ("free", 'declare counterfactual = "no_grad" or "grad"'),
        ("watch", "watches 'weight' of shape .* one value per token"),
        ("reference", "make its reference\\(\\) name a model"),
    ],
)
def test_a_loss_outside_the_contract_is_named(train: Train, kind: str, said: str) -> None:
    with pytest.raises(PerbenchError, match=f"Spoiled.loss .*{said}") as caught:
        train(Spoiled(kind=kind))
    assert str(caught.value).startswith(f"training/test_fit.py:{line_of(Spoiled.loss)}: ")


class Alone(Trainer):
    """Reads the pass that it says it does not need."""

    factual = False
    counterfactual = "grad"

    def loss(self, batch: TokenBatch) -> Any:
        return -batch.factual.logp, torch.ones_like(batch.factual.logp)


def test_a_loss_without_the_persona_runs_that_pass_only(train: Train, pairs: list[PromptPair]) -> None:
    dropout = {"rank": 4, "alpha": 8, "dropout": 0.1}  # one pass alone is not compared with another
    result = train("sft", epochs=1, lora=dropout)
    response = sum(len(pair.response) for pair in pairs)
    free = response + sum(len(pair.counterfactual) for pair in pairs)
    assert result.tokens == {"response": response, "counterfactual": free}
    with pytest.raises(PerbenchError, match="remove factual = False"):
        train(Alone(), folder="alone")


def test_inputs_that_cannot_be_trained_on(train: Train, pairs: list[PromptPair]) -> None:
    with pytest.raises(PerbenchError, match="no training examples"):
        train(examples=[])
    with pytest.raises(PerbenchError, match="example-1 has an empty response"):
        train(examples=[pairs[0], PromptPair((1,), (1,), (), 0, 0)])
    for trainer in ("perce", "nextquill"):
        with pytest.raises(PerbenchError, match=r"set lora\.dropout to 0"):
            train(trainer, lora={"rank": 4, "alpha": 8, "dropout": 0.1})


def test_base_dropout_stays_off(model: ResolvedModel, spec: TrainingSpec) -> None:
    from perbench.training import network

    base = load_causal_lm(model.folder, "float32")
    base.model.layers[0].mlp.act_fn = torch.nn.Sequential(
        base.model.layers[0].mlp.act_fn, torch.nn.Dropout(0.5)
    )
    adapted = network.adapt(base, spec.model_copy(update={"gradient_checkpointing": True}), 0)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(adapted(input_ids=ids).logits, adapted(input_ids=ids).logits)
