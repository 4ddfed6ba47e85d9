"""Interrupted anywhere and called again, a run ends with the bits of an uninterrupted one."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.errors import CellError, PerbenchError
from perbench.plugins import load_trainer
from perbench.training import FitResult
from tests.damage import DAMAGES, flip

Train = Callable[..., FitResult]


class Stop(Exception):
    pass


def stop_after(step: int) -> Callable[[int, int, dict[str, float]], None]:
    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == step and figures:
            raise Stop

    return tick


def weights(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(checkpoint.glob("*.safetensors"))}


def losses(result: FitResult) -> list[float]:
    return [entry["loss"] for entry in result.log]


@pytest.mark.parametrize(
    ("trainer", "changes"),
    [
        ("perce", {}),
        ("nextquill", {"precision": "bf16"}),
        ("nextquill", {"method": "full", "learning_rate": 1e-3}),
        ("ce", {"lora": {"rank": 4, "alpha": 8, "dropout": 0.3}}),
    ],
)
def test_resumed_runs_end_with_the_same_bits(
    train: Train, tmp_path: Path, trainer: str, changes: dict[str, Any]
) -> None:
    whole = train(trainer, folder="whole", **changes)
    for step in (1, 3, 4):  # before the first checkpoint, between two, right at one
        with pytest.raises(Stop):
            train(trainer, folder="cut", tick=stop_after(step), **changes)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["step-000004"]
    ticks: list[int] = []
    resumed = train(trainer, folder="cut", tick=lambda done, total, figures: ticks.append(done), **changes)
    assert ticks == [4, 5]
    assert weights(resumed.checkpoint) == weights(whole.checkpoint)
    assert losses(resumed) == losses(whole)
    assert resumed.tokens == whole.tokens
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["final"]


def test_a_finished_run_is_returned_as_it_is(train: Train, tmp_path: Path) -> None:
    first = train("perce")
    left = tmp_path / "run" / "step-000004"  # as a kill between finishing and tidying leaves it
    shutil.copytree(first.checkpoint, left)
    again = train("perce", tick=lambda *_: pytest.fail("nothing is left to do"))
    assert again == first
    assert not left.exists()


@pytest.mark.parametrize("damage", ["state", "torn_state", "torn_weights", "missing", "flipped", "partial"])
def test_damaged_checkpoints_are_not_used_and_reported(
    train: Train, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder="whole")
    with pytest.raises(Stop):
        train(tick=stop_after(4))
    good, torn = tmp_path / "run" / "step-000004", tmp_path / "run" / "step-000009"
    if damage == "partial":
        torn = tmp_path / "run" / ".partial-step-000006"
    shutil.copytree(good, torn)
    if damage == "state":
        (torn / "state.json").unlink()
    elif damage == "torn_state":
        text = (torn / "state.json").read_text()
        (torn / "state.json").write_text(text[: len(text) // 2])
    elif damage == "torn_weights":
        with (torn / "weights.safetensors").open("r+b") as file:
            file.truncate(100)
    elif damage == "missing":
        (torn / "optimizer.pt").unlink()
    elif damage == "flipped":
        flip(torn / "optimizer.pt", random.Random(0))
    starts: list[int] = []
    resumed = train(tick=lambda done, total, figures: starts.append(done))
    assert starts[0] == 4
    assert weights(resumed.checkpoint) == weights(whole.checkpoint)
    assert not torn.exists()
    assert (str(torn) in capsys.readouterr().err) == (damage != "partial")


@pytest.mark.parametrize("place", ["step-000004", "final"])
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damaged_weights_are_trained_again(train: Train, tmp_path: Path, place: str, damage: str) -> None:
    whole = train(folder="whole")
    if place == "final":
        train()
    else:
        with pytest.raises(Stop):
            train(tick=stop_after(4))
    chance = random.Random(damage)
    files = sorted(path for path in (tmp_path / "run" / place).iterdir() if path.name != "README.md")
    assert DAMAGES[damage](chance.choice(files), chance)
    starts: list[int] = []
    again = train(tick=lambda done, total, figures: starts.append(done))
    assert starts[0] == 0
    assert weights(again.checkpoint) == weights(whole.checkpoint)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["final"]


def test_a_step_checkpoint_is_not_taken_for_the_final_weights(train: Train, tmp_path: Path) -> None:
    whole = train(folder="whole")
    with pytest.raises(Stop):
        train(tick=stop_after(4))
    (tmp_path / "run" / "step-000004").rename(tmp_path / "run" / "final")
    assert weights(train().checkpoint) == weights(whole.checkpoint)


@pytest.mark.parametrize("limit", [2_000, 40_000])  # bytes: the weights do not fit; the optimizer does not
def test_a_full_disk_keeps_the_last_good_checkpoint(train: Train, tmp_path: Path, limit: int) -> None:
    whole = train(folder="whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))

    try:
        with pytest.raises(
            CellError, match=r"cannot write .*step-000004: .*free some space.*kept: .*step-000002"
        ):
            train(tick=tick)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-000002"]
    assert weights(train().checkpoint) == weights(whole.checkpoint)


def test_a_full_disk_at_the_end_loses_no_step(train: Train, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))

    try:
        with pytest.raises(CellError, match=r"cannot write .*final"):
            train(tick=tick)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-000004"]


@pytest.mark.parametrize("finished", [False, True])
def test_another_runs_checkpoint_is_refused_and_kept(train: Train, tmp_path: Path, finished: bool) -> None:
    if finished:
        train()
    else:
        with pytest.raises(Stop):
            train(tick=stop_after(2))
    for difference in ({"learning_rate": 1e-3}, {"seed": 1}, {"trainer": load_trainer("perce", {})}):
        with pytest.raises(PerbenchError, match=r"is a checkpoint of another training .*delete"):
            train(**difference)
    (kept,) = (tmp_path / "run").iterdir()
    assert json.loads((kept / "state.json").read_text())["step"] == (5 if finished else 2)


def test_a_run_may_resume_with_smaller_micro_batches(train: Train) -> None:
    whole = train(folder="whole")
    with pytest.raises(Stop):
        train(tick=stop_after(2))
    starts: list[int] = []
    resumed = train(
        tick=lambda done, total, figures: starts.append(done),
        micro_batch_tokens=1,
        gradient_checkpointing=True,
    )
    assert starts[0] == 2
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-4)


KILLED = """
import json, os, signal, sys
from pathlib import Path
import accelerate, peft, transformers.models.llama.modeling_llama  # imported once, before the forks
from perbench.lm.models import ResolvedModel
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import checkpoint, fit

folder, model = Path(sys.argv[1]), Path(sys.argv[2])
pairs = [PromptPair((3 + i, 9, 40), (40,), (8, 50 + i, 2), 1, 0) for i in range(8)]
flush, flushed = checkpoint._flush, 0

def run(method, name, kill_step=None, kill_flush=None):
    def tick(done, total, figures):
        if done == kill_step and figures:
            os.kill(os.getpid(), signal.SIGKILL)
    def flush_then_die(path):
        global flushed
        flush(path)
        flushed += 1
        if flushed == kill_flush:
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoint._flush = flush_then_die
    child = os.fork()
    if not child:
        spec = TrainingSpec(
            method=method, epochs=2, batch_size=4, learning_rate=1e-3, precision="fp32", save_every=1
        )
        fit(ResolvedModel("tiny", model, "0"), load_trainer("perce", {}), pairs, list("01234567"), spec,
            seed=0, folder=folder / method / name, tick=tick)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

# A step checkpoint takes five flushes: three files, their folder, its parent.
print(json.dumps({
    method: [
        run(method, "whole"),
        run(method, "cut", kill_flush=2),  # writing the first checkpoint
        run(method, "cut", kill_step=1),
        run(method, "cut", kill_flush=7),  # writing the third, two are done
        run(method, "cut", kill_step=3),
        run(method, "cut", kill_flush=4),  # writing the final weights
        run(method, "cut"),
    ]
    for method in ("lora", "full")
}))
"""


def test_killed_in_updates_and_in_the_middle_of_writing(tmp_path: Path, tiny_model_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(tiny_model_dir)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for method, codes in json.loads(done.stdout.splitlines()[-1]).items():
        assert codes == [0, *[-signal.SIGKILL] * 5, 0], done.stderr
        cut, whole = tmp_path / method / "cut", tmp_path / method / "whole"
        assert weights(cut / "final") == weights(whole / "final")
        assert [path.name for path in cut.iterdir()] == ["final"]


def test_what_a_training_does_not_read_may_change_in_between(train: Train) -> None:
    settings: dict[str, Any] = {"method": "full", "learning_rate": 1e-3, "epochs": 0.8, "save_every": 1}
    with pytest.raises(Stop):
        train(tick=stop_after(1), lora={"rank": 4}, **settings)
    ticks: list[int] = []
    train(tick=lambda done, total, figures: ticks.append(done), lora={"rank": 2}, **settings)
    assert ticks[0] == 1


def test_another_automatic_precision_is_refused(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"epochs": 0.8, "save_every": 1, "precision": "auto"}
    for native in (torch.bfloat16, torch.float32):
        monkeypatch.setattr("perbench.lm.models.native_dtype", lambda native=native: native)
        if native is torch.bfloat16:
            with pytest.raises(Stop):
                train(tick=stop_after(1), **settings)
        else:
            with pytest.raises(PerbenchError, match="precision `auto`"):
                train(**settings)
