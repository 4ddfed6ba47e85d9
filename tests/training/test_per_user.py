"""Users' own adapters: each from its user's data alone, on top of the task's, whatever happens around it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from perbench.api import Example
from perbench.disk.sealed import SealedJournal
from perbench.errors import PerbenchError
from perbench.lm.adapters import adapted
from perbench.lm.contrast import contrast
from perbench.lm.models import ResolvedModel, load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.seeds import derive_seed
from perbench.specs.matrix import PerUserSpec, TrainingSpec
from perbench.training import FitResult, fit
from perbench.training.per_user import UsersResult, fit_users, user_adapters

Train = Callable[..., FitResult]
Users = Mapping[str, list[Example]]
SPEC = TrainingSpec(precision="fp32", per_user=PerUserSpec(batch_size=2, learning_rate=1e-2)).user_stage


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def users() -> dict[str, list[Example]]:
    sizes = {"ann": 3, "bob": 1, "cem": 2}
    return {user: [Example(f"{user}/{i}", user, "", "") for i in range(n)] for user, n in sizes.items()}


def build(example: Example) -> PromptPair:
    user, _, number = example.id.partition("/")
    first = ord(user[0])
    question = (40, 41 + int(number))
    return PromptPair((first, first + 1, *question), question, (first + 2, first + 3, 2), 1, 0)


@pytest.fixture
def task(train: Train) -> Path:
    """The adapter that all users begin from."""
    return train("ce", folder="task").checkpoint


@pytest.fixture
def fit_all(model: ResolvedModel, users: Users, task: Path, tmp_path: Path) -> Callable[..., UsersResult]:
    def run(
        name: str, chosen: Users | None = None, tick: Any = lambda done, total, figures: None, **spec: Any
    ) -> UsersResult:
        return fit_users(
            model,
            load_trainer("perce", {}),
            {
                user: {example.id: build(example) for example in own}
                for user, own in (users if chosen is None else chosen).items()
            },
            SPEC.model_copy(update=spec),
            start=task,
            seed=lambda user: derive_seed("user", 0, user),
            folder=tmp_path / name,
            tick=tick,
        )

    return run


def adapters(folder: Path) -> dict[str, Path]:
    found, faults = user_adapters(folder)
    assert faults == []
    return found


def weights(folder: Path) -> dict[str, bytes]:
    found = adapters(folder)
    return {user: (path / "adapter_model.safetensors").read_bytes() for user, path in found.items()}


def test_users_neither_see_nor_disturb_each_other(
    fit_all: Callable[..., UsersResult], users: Users, tmp_path: Path
) -> None:
    fit_all("whole")
    whole = weights(tmp_path / "whole")
    assert len(set(whole.values())) == 3
    fit_all("shuffled", dict(reversed(users.items())))
    assert weights(tmp_path / "shuffled") == whole
    for dropped in users:
        others = {user: own for user, own in users.items() if user != dropped}
        fit_all(f"without {dropped}", others)
        assert weights(tmp_path / f"without {dropped}") == {user: whole[user] for user in others}


def test_a_user_begins_from_the_task_adapter_merged(
    fit_all: Callable[..., UsersResult], model: ResolvedModel, users: Users, task: Path, tmp_path: Path
) -> None:
    fit_all("run")
    network = adapted(load_causal_lm(model.folder, "float32"), task, merge=True)
    ann = adapters(tmp_path / "run")["ann"]
    losses = []
    for example in users["ann"]:
        pair = build(example)
        values = []
        for prompt in (pair.factual, pair.counterfactual):
            logits = network(input_ids=torch.tensor([[*prompt, *pair.response]])).logits[0]
            logp = logits[len(prompt) - 1 : -1].log_softmax(-1)
            values.append(logp.gather(1, torch.tensor(pair.response)[:, None])[:, 0])
        losses.append(-(values[0] - values[1]).clamp(0.8, 5) * values[0])
    first = json.loads((tmp_path / "run" / f"{ann.parent.name}.jsonl").read_text().splitlines()[0])
    seen = [torch.cat([losses[i] for i in both]).mean().item() for both in ((0, 1), (0, 2), (1, 2))]
    assert min(abs(loss - first["loss"]) for loss in seen) < 1e-4
    config = json.loads((ann / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (8, 8)
    names = load_file(ann / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {"q_proj", "v_proj"}


def test_sums_and_progress_run_over_all_users(fit_all: Callable[..., UsersResult], users: Users) -> None:
    ticks: list[tuple[int, int]] = []
    result = fit_all("run", tick=lambda done, total, figures: ticks.append((done, total)))
    # Two epochs of 3, 1 and 2 examples, two per update: 3 + 1 + 2 updates.
    assert result.steps == 6
    assert ticks == [(done, 6) for done in (0, 1, 2, 3, 3, 4, 4, 5, 6)]
    assert result.tokens["response"] == 2 * 3 * sum(map(len, users.values()))


def test_killed_among_users_and_called_again(fit_all: Callable[..., UsersResult], tmp_path: Path) -> None:
    whole = fit_all("whole", save_every=1)
    for step in (2, 4, 5):  # in the first user, after the second, in the third
        with pytest.raises(Stop):
            fit_all("cut", save_every=1, tick=_stop_at(step))
        assert user_adapters(tmp_path / "cut")[1] == [f"{tmp_path / 'cut' / 'index.json'} is missing"]
    ticks: list[int] = []
    again = fit_all("cut", save_every=1, tick=lambda done, *_: ticks.append(done))
    assert replace(again, seal=whole.seal) == whole  # the seal is over the logs' times, too
    assert ticks == [5, 6]
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    for log in (tmp_path / "cut").glob("*.jsonl"):
        steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
        assert steps == list(range(1, len(steps) + 1))


def _stop_at(step: int) -> Callable[[int, int, dict[str, float]], None]:
    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == step and figures:
            raise Stop

    return tick


def test_another_task_adapter_is_another_training(
    fit_all: Callable[..., UsersResult], train: Train, task: Path, tmp_path: Path
) -> None:
    fit_all("run")
    other = train("ce", folder="other", seed=1).checkpoint
    task.rename(tmp_path / "old")
    other.rename(task)
    with pytest.raises(PerbenchError, match="is a checkpoint of another training"):
        fit_all("run")


def test_layers_that_the_model_lacks_are_named(train: Train) -> None:
    with pytest.raises(PerbenchError, match="target_modules query,value: "):
        train(lora={"target_modules": "query,value"})


def test_true_stands_for_the_published_recipe() -> None:
    stage = TrainingSpec.model_validate(
        {"per_user": True, "learning_rate": 2e-5, "schedule": "linear"}
    ).user_stage
    assert (stage.lora.rank, stage.lora.target_modules) == (8, "q_proj,v_proj")
    assert (stage.epochs, stage.learning_rate, stage.schedule, stage.per_user) == (2.0, 1e-4, "linear", None)
    assert TrainingSpec.model_validate({"per_user": False}) == TrainingSpec()
    full = TrainingSpec.model_validate({"method": "full", "per_user": {"rank": 4}}).user_stage
    assert (full.method, full.lora.rank) == ("lora", 4)


def test_the_initial_model_of_a_user_is_the_task_model(
    model: ResolvedModel, users: Users, task: Path, tmp_path: Path
) -> None:
    base = load_causal_lm(model.folder, "float32")
    pair = build(users["bob"][0])

    def effects() -> torch.Tensor:
        (found,) = contrast(base, [pair])
        return found.factual.exp() - found.counterfactual.exp()

    before = effects()
    base = adapted(base, task, merge=True)
    after = effects()
    place = int((before - after).abs().argmax())
    between = float(before[place] + after[place]) / 2  # tells the two models apart
    shares = [(values > between).double().mean().item() for values in (before, after)]
    assert shares[0] != shares[1]
    trainer = load_trainer("nextquill", {"delta": between})
    for start in (None, task):  # the first leaves the base model's log-probs in the user cache
        fit(
            *(model, trainer, [pair], ["bob"], SPEC),
            seed=0,
            folder=tmp_path / f"from {start is None}",
            tick=lambda done, total, figures: None,
            log=SealedJournal(tmp_path / "log.jsonl", "cell"),
            start=start,
        )
        row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
        assert row["weight"]["at_high"] == pytest.approx(shares[start is not None])
