"""Random damage to any file of a training is found when it is read: nothing is trained or scored from it."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from perbench.api import Example
from perbench.disk.manifest import seal_of
from perbench.errors import PerbenchError
from perbench.lm.models import ResolvedModel
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import PerUserSpec, TrainingSpec
from perbench.training import FitResult
from perbench.training.checkpoint import Checkpoints, checkpoint_faults, fingerprint_of
from perbench.training.per_user import fit_users, user_adapters
from tests.damage import DAMAGES

Train = Callable[..., FitResult]


class Stop(Exception):
    pass


def every_damage(folder: Path, times: int) -> list[tuple[Path, str, int]]:
    """Each kind of damage to each file, `times` times over."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(names) >= 4
    return [(name, damage, number) for name in names for damage in DAMAGES for number in range(times)]


def damaged(folder: Path, copy: Path, case: tuple[Path, str, int]) -> bool:
    """Make `copy` the folder with one damage to one file; False where that changes nothing."""
    path, damage, number = case
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    return DAMAGES[damage](copy / path, random.Random(f"{path} {damage} {number}"))


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("finished", [False, True])
def test_any_damage_to_a_checkpoint(train: Train, tmp_path: Path, method: str, finished: bool) -> None:
    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 2 and not finished and figures:
            raise Stop

    with contextlib.suppress(Stop):
        train(method=method, save_every=1, tick=tick)
    (whole,) = (tmp_path / "run").iterdir()
    fingerprint, seal = fingerprint_of(whole), seal_of(whole)
    tried = 0
    for case in every_damage(whole, 3):
        copy = tmp_path / "copy" / whole.name
        if damaged(whole, copy, case):
            checkpoints = Checkpoints(copy.parent, fingerprint)
            assert (checkpoints.final() if finished else checkpoints.latest()) is None, case
            assert checkpoint_faults(copy, seal=seal), case
            tried += 1
    assert tried >= 50


def test_any_damage_to_users_adapters(model: ResolvedModel, train: Train, tmp_path: Path) -> None:
    spec = TrainingSpec(precision="fp32", per_user=PerUserSpec(batch_size=2, rank=2)).user_stage
    examples = {user: Example(f"{user}/0", user, "", "") for user in ("ann", "bob")}
    pairs = {
        user: {example.id: PromptPair((40 + n, 41), (41,), (50 + n, 2), 1, 0)}
        for n, (user, example) in enumerate(examples.items())
    }
    users = tmp_path / "users"
    result = fit_users(
        *(model, load_trainer("ce", {}), pairs, spec),
        start=train().checkpoint,
        seed=len,
        folder=users,
        tick=lambda done, total, figures: None,
    )
    adapters, faults = user_adapters(users, seal=result.seal)
    assert ([*adapters], faults) == (["ann", "bob"], [])
    tried = 0
    for case in every_damage(users, 1):
        if case[0].suffix != ".jsonl" and damaged(users, tmp_path / "copy", case):
            assert user_adapters(tmp_path / "copy", seal=result.seal)[1], case
            tried += 1
    assert tried >= 50
    ann, bob = (path.parent for path in adapters.values())
    for old, new in ((ann, tmp_path / "x"), (bob, ann), (tmp_path / "x", bob)):
        old.rename(new)
    assert len(user_adapters(users)[1]) == 2  # each has the other's name


def test_a_smaller_budget_is_forgotten_when_its_file_is_damaged(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "0" * 64)
    checkpoints.lower(100, 50, "out of memory")
    assert (checkpoints.budget(100), checkpoints.notes()) == (50, ["out of memory"])
    file = tmp_path / "micro_batch_tokens.json"
    file.write_text(file.read_text().replace("50", "51"))
    assert (checkpoints.budget(100), checkpoints.notes()) == (100, [])


def test_a_checkpoint_of_another_training_is_still_refused(train: Train, tmp_path: Path) -> None:
    train()
    with pytest.raises(PerbenchError, match="is a checkpoint of another training"):
        Checkpoints(tmp_path / "run", "0" * 64).final()
