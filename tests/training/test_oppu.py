"""A user's stage under OPPU's values against peft, torch and transformers' own schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import get_linear_schedule_with_warmup

from perbench.lm.adapters import adapted
from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import PerUserSpec, TrainingSpec
from perbench.training import FitResult
from perbench.training.per_user import fit_users, user_adapters
from perbench.training.plan import UpdatePlan

OPPU: dict[str, Any] = {
    "history": "earlier",
    "batch_size": 16,
    "dropout": 0.05,
    "schedule": "linear",
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 0.3,
}
SEED = 3


@pytest.fixture(scope="module")
def items() -> list[PromptPair]:
    """Forty of one user: at sixteen a batch and two epochs, five updates."""
    generator = torch.Generator().manual_seed(1)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return tuple(torch.randint(3, 380, (length,), generator=generator).tolist())

    return [PromptPair((*ids(0, 9), *(question := ids(2, 6))), question, ids(3, 9), 1, 0) for _ in range(40)]


def trained(model: ResolvedModel, items: list[PromptPair], start: Path, folder: Path, **own: Any) -> Path:
    spec = TrainingSpec(precision="fp32", per_user=PerUserSpec(**{**OPPU, **own})).user_stage
    users = {"ann": {f"ann/{number}": pair for number, pair in enumerate(items)}}
    quiet: Any = lambda *_: None  # noqa: E731
    fit_users(
        model,
        load_trainer("ce", {}),
        users,
        spec,
        start=start,
        seed=lambda _: SEED,
        folder=folder,
        tick=quiet,
    )
    return user_adapters(folder)[0]["ann"]


def reference(
    model: ResolvedModel, items: list[PromptPair], start: Path, rate: float
) -> tuple[Any, list[float]]:
    """OPPU.py's loop, without its dropout: the task's adapter merged, a new one on top, the mean over tokens
    of a padded batch's responses, gradients clipped to 0.3."""
    base = adapted(load_causal_lm(model.folder, "float32"), start, merge=True)
    torch.manual_seed(SEED)
    config = LoraConfig(
        r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"], bias="none", task_type="CAUSAL_LM"
    )
    network: Any = get_peft_model(base, config).eval()
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, weight_decay=0.01)
    steps = 5
    schedule = get_linear_schedule_with_warmup(optimizer, 1, steps)
    plan = UpdatePlan(len(items), TrainingSpec(batch_size=16, epochs=2), SEED)
    rates = []
    schedule.step()  # perbench's warm-up begins above zero, so it is one update ahead
    for step in range(steps):
        batch = [items[i] for i in plan.batch(step)]
        width = max(len(pair.factual) + len(pair.response) for pair in batch)
        ids, mask, labels = (torch.full((len(batch), width), fill) for fill in (0, 0, -100))
        for row, pair in enumerate(batch):
            whole, start_ = torch.tensor((*pair.factual, *pair.response)), len(pair.factual)
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
            labels[row, start_ : len(whole)] = whole[start_:]
        optimizer.zero_grad()
        network(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.3)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step > 0:
            schedule.step()
    return network, rates


def test_a_users_updates_are_those_of_oppus_loop(
    train: Callable[..., FitResult], model: ResolvedModel, items: list[PromptPair], tmp_path: Path
) -> None:
    start = train("ce", folder="task").checkpoint
    adapter = trained(model, items, start, tmp_path / "own", dropout=0.0, learning_rate=1e-3)
    network, rates = reference(model, items, start, 1e-3)
    log = (tmp_path / "own" / f"{adapter.parent.name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in log]
    assert [row["lr"] for row in rows] == pytest.approx(rates)
    assert any(row["grad_norm"] > 0.3 for row in rows)  # so that clipping matters
    theirs = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    ours = load_file(adapter / "adapter_model.safetensors")
    assert len(ours) == len(theirs)
    for name, weight in theirs.items():
        found = ours[name.replace(".default", "")]
        torch.testing.assert_close(found, weight, rtol=1e-3, atol=2e-5)


def test_its_dropout_reaches_the_adapter(
    train: Callable[..., FitResult], model: ResolvedModel, items: list[PromptPair], tmp_path: Path
) -> None:
    start = train("ce", folder="task").checkpoint
    folders = [trained(model, items[:16], start, tmp_path / name, **own) for name, own in (
        ("with", {}), ("without", {"dropout": 0.0}))]  # fmt: skip
    configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in folders]
    assert [config["lora_dropout"] for config in configs] == [0.05, 0.0]
    with_, without = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert any(not torch.equal(with_[name], without[name]) for name in with_)
