"""One adapter per user on top of a trained model (OPPU, arXiv 2402.04401), each from one user's data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

from perbench import processes
from perbench.api import Trainer
from perbench.engines.base import Tick
from perbench.errors import CellError
from perbench.models import ResolvedModel
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.store.files import write_json
from perbench.training.loop import fit
from perbench.training.plan import Plan

INDEX = "index.json"


@dataclass(frozen=True)
class UsersResult:
    """Over all users: sums of `tokens` and updates, and every note, as in `FitResult`."""

    tokens: dict[str, int]
    steps: int
    notes: list[str]


def steps_of(users: Mapping[str, Sized], spec: TrainingSpec) -> int:
    """Updates of all users' adapters together."""
    return sum(Plan(len(examples), spec, 0).steps for examples in users.values())


def fit_users(
    model: ResolvedModel,
    trainer: Trainer,
    users: Mapping[str, Mapping[str, PromptPair]],
    spec: TrainingSpec,
    *,
    start: Path,
    seed: Callable[[str], int],
    folder: Path,
    tick: Tick,
) -> UsersResult:
    """Train one adapter per user on `start`, the checkpoint of the training before, each from `start` anew.
    `users` maps a user to prompt pairs by the id of their example.

    A user's adapter depends on that user's examples and `seed(user)` only: not on the other users, nor on
    their order. Each has a folder of its own under `folder`, so that a killed run goes on with the user it
    was at; `index.json`, written last, names them all. Raises as `fit`.
    """
    total, done = steps_of(users, spec), 0
    tokens: dict[str, int] = {}
    notes: list[str] = []
    index: dict[str, str] = {}
    for user, pairs in users.items():
        index[user] = hashlib.sha256(user.encode(errors="surrogatepass")).hexdigest()[:16]

        def shifted(at: int, _: int, figures: dict[str, float], before: int = done) -> None:
            tick(before + at, total, figures)

        result = fit(
            model,
            trainer,
            [*pairs.values()],
            [*pairs],
            spec,
            seed=seed(user),
            folder=folder / index[user],
            tick=shifted,
            log=folder / f"{index[user]}.jsonl",
            start=start,
        )
        done += result.steps
        notes += [f"user {user}: {note}" for note in result.notes]
        for name, count in result.tokens.items():
            tokens[name] = tokens.get(name, 0) + count
    group = processes.group()
    with group.agreed():
        if group.main:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / INDEX, index)
    return UsersResult(tokens, done, notes)


def user_adapters(folder: Path) -> dict[str, Path]:
    """User -> adapter, of all users that `fit_users` trained into `folder`.

    Raises:
        CellError: they are not all there.
    """
    try:
        index: dict[str, str] = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError):
        raise CellError(f"{folder / INDEX} is gone; delete the cell's folder to train it again") from None
    return {user: folder / name / "final" for user, name in index.items()}
