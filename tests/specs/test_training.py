"""Settings of trainings: what identifies them, and the stage of users' own adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from perbench.cli import main
from perbench.errors import PerbenchError
from perbench.plugins import load_trainer
from perbench.specs.matrix import LoraSpec, PerUserSpec, TrainingSpec
from perbench.training.inputs import check_settings

OPPU: dict[str, Any] = {
    "history": "earlier",
    "batch_size": 16,
    "dropout": 0.05,
    "schedule": "linear",
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 0.3,
}


def test_keys_that_came_later_are_inputs_only_if_they_differ() -> None:
    plain = TrainingSpec(per_user=PerUserSpec())
    keys = {"data", "rank", "alpha", "target_modules", "epochs", "batch_size", "learning_rate"}
    assert plain.inputs["per_user"].keys() == keys
    assert "reduce" not in plain.inputs
    assert TrainingSpec(per_user=PerUserSpec(history="others"), reduce="tokens").inputs == plain.inputs
    assert TrainingSpec(reduce="examples").inputs["reduce"] == "examples"
    oppu = TrainingSpec(per_user=PerUserSpec(**OPPU)).inputs["per_user"]
    assert {key: oppu[key] for key in OPPU} == OPPU


def test_oppus_values_reach_its_stage_and_no_other() -> None:
    """The values of its published code."""
    spec = TrainingSpec(
        per_user=PerUserSpec(**OPPU), weight_decay=0.025, schedule="cosine", reduce="examples"
    )
    task, own = spec.stages
    assert (task.weight_decay, task.schedule, task.lora.dropout) == (0.025, "cosine", 0.0)
    assert own.lora == LoraSpec(rank=8, alpha=8, dropout=0.05, target_modules="q_proj,v_proj")
    assert (own.epochs, own.batch_size, own.learning_rate) == (2.0, 16, 1e-4)
    assert (own.weight_decay, own.warmup_ratio, own.max_grad_norm) == (0.01, 0.1, 0.3)
    assert (own.schedule, own.reduce, own.per_user) == ("linear", "examples", None)


def test_as_the_training_where_a_stage_says_nothing() -> None:
    spec = TrainingSpec(per_user=PerUserSpec(), weight_decay=0.025, warmup_ratio=0.2, max_grad_norm=0.5)
    own = spec.user_stage
    assert (own.weight_decay, own.warmup_ratio, own.max_grad_norm, own.lora.dropout) == (0.025, 0.2, 0.5, 0.0)


def test_noise_by_micro_batch_is_an_input_in_any_stage() -> None:
    noisy = {"micro_batch_tokens", "parallel"}
    assert not noisy & TrainingSpec(per_user=PerUserSpec()).inputs.keys()
    assert noisy <= TrainingSpec(per_user=PerUserSpec(dropout=0.05)).inputs.keys()
    assert noisy <= TrainingSpec(lora=LoraSpec(dropout=0.05)).inputs.keys()
    assert noisy <= TrainingSpec(method="full", per_user=PerUserSpec(dropout=0.05)).inputs.keys()
    assert not noisy & TrainingSpec(method="full", lora=LoraSpec(dropout=0.05)).inputs.keys()


def test_dropout_is_refused_in_any_stage_of_trainers_that_compare() -> None:
    for spec, key in (
        (TrainingSpec(lora=LoraSpec(dropout=0.1)), "lora.dropout 0.1"),
        (TrainingSpec(per_user=PerUserSpec(dropout=0.1)), "per_user.dropout 0.1"),
    ):
        with pytest.raises(PerbenchError, match=f"{key} with PerCE"):
            check_settings(load_trainer("perce", {}), spec)
        check_settings(load_trainer("ce", {}), spec)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"reduce": "batch"}, "reduce"),
        ({"per_user": {"history": "later"}}, "per_user.history"),
        ({"per_user": {"dropout": 1.0}}, "per_user.dropout"),
        ({"per_user": {"max_grad_norm": 0.0}}, "per_user.max_grad_norm"),
        ({"per_user": {"weight_decay": -0.1}}, "per_user.weight_decay"),
        ({"per_user": {"warmup_ratio": 2.0}}, "per_user.warmup_ratio"),
    ],
)
def test_values_out_of_range_are_named(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as error:
        TrainingSpec(**values)
    (found,) = error.value.errors()
    assert fault in f"{'.'.join(map(str, found['loc']))} {found['msg']}"


def test_a_history_of_items_needs_items() -> None:
    spec = TrainingSpec(per_user=PerUserSpec(data="examples", history="earlier"))
    with pytest.raises(PerbenchError, match=r"per_user\.history earlier .*data examples"):
        check_settings(load_trainer("ce", {}), spec)
    check_settings(load_trainer("ce", {}), TrainingSpec(per_user=PerUserSpec(data="both", history="earlier")))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{name: perce, params: {clip_min: 6.0, clip_max: 7.0}}", None),
        (
            "{name: perce, params: {clip_min: [0.5, 6.0], clip_max: 3.0}}",
            "clip_min=6.0 is above clip_max=3.0",
        ),
        ("{name: perce, params: {clip_max: 0.5}}", "clip_min=0.8 is above clip_max=0.5"),
        ("{name: nextquill, params: {causal_weight: uniform, normalise: paper}}", None),
        ("{name: nextquill, params: {causal_weight: uniform}}", "causal_weight=uniform"),
        (
            "{name: perce, params: {clip_min: {embedded/sotu_writing: 6.0, embedded/chitchat_reply: 0.5},"
            " clip_max: {embedded/sotu_writing: 7.0, embedded/chitchat_reply: 1.0}}}",
            None,
        ),
    ],
)
def test_values_are_checked_together_and_not_against_defaults_that_they_replace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, told: str | None
) -> None:
    (tmp_path / "leaderboard" / "matrices").mkdir(parents=True)
    file = tmp_path / "leaderboard" / "matrices" / "small.yaml"
    sources = "[embedded/sotu_writing, embedded/chitchat_reply]"
    file.write_text(
        f"summary: s\nmodels: [smollm2-135m]\ntrainers:\n  - {row}\nsources: {sources}\n"
        "targets: [embedded/sotu_writing]\n"
    )
    code = main(["validate", str(file)])
    printed = "".join(capsys.readouterr())
    assert (code == 0) == (told is None), printed
    assert told is None or f"small.yaml:4: {row.split()[1][:-1]}: {told}" in printed
