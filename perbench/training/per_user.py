"""Trains one adapter per user on top of a trained model (OPPU, arXiv 2402.04401), each on one user's data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

from perbench import processes
from perbench.api import Trainer
from perbench.disk.digests import content_sha256
from perbench.disk.files import Guard, unguarded
from perbench.disk.sealed import SealedJournal, read_sealed, write_sealed
from perbench.lm.models import ResolvedModel
from perbench.progress import Tick
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training.checkpoint import checkpoint_faults
from perbench.training.loop import fit
from perbench.training.plan import UpdatePlan

INDEX = "index.json"


@dataclass(frozen=True)
class UsersResult:
    """Over all users: sums of `tokens` and updates, and all notes, as in `FitResult`. `seal` identifies the
    content of all adapters."""

    tokens: dict[str, int]
    steps: int
    notes: list[str]
    seal: str


def steps_of(users: Mapping[str, Sized], spec: TrainingSpec) -> int:
    """Updates of all users' adapters together."""
    return sum(UpdatePlan(len(examples), spec, 0).steps for examples in users.values())


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
    guard: Guard = unguarded,
) -> UsersResult:
    """Train one adapter per user, each starting from `start`, the checkpoint of the training before. `users`
    maps a user to prompt pairs by example id.

    A user's adapter depends only on that user's examples and `seed(user)`. Each has its own folder in
    `folder`, so that a killed run resumes with the current user; `index.json`, written last, lists them all
    with their seals. `guard` is called before each write. Raises as `fit`.
    """
    total, done = steps_of(users, spec), 0
    tokens: dict[str, int] = {}
    notes: list[str] = []
    index: dict[str, dict[str, str]] = {}
    for user, pairs in users.items():
        own = hashlib.sha256(user.encode(errors="surrogatepass")).hexdigest()[:16]

        def shifted(at: int, _: int, figures: dict[str, float], before: int = done) -> None:
            tick(before + at, total, figures)

        result = fit(
            model,
            trainer,
            [*pairs.values()],
            [*pairs],
            spec,
            seed=seed(user),
            folder=folder / own,
            tick=shifted,
            log=SealedJournal(folder / f"{own}.jsonl", own, guard),
            start=start,
        )
        index[user] = {"folder": own, "seal": result.seal}
        done += result.steps
        notes += [f"user {user}: {note}" for note in result.notes]
        for name, count in result.tokens.items():
            tokens[name] = tokens.get(name, 0) + count
    group, seal = processes.group(), ""
    with group.agreed():
        if group.main:
            folder.mkdir(parents=True, exist_ok=True)
            seal = write_sealed(folder / INDEX, {"users": index}, guard=guard)
    return UsersResult(tokens, done, notes, group.broadcast(seal))


def user_adapters(
    folder: Path, *, seal: str | None = None, digest: Callable[[Path], str] = content_sha256
) -> tuple[dict[str, Path], list[str]]:
    """The adapters that `fit_users` trained into `folder`, by user; and their faults, as in
    `perbench.disk.manifest.faults`. `seal` is the one returned by `fit_users`, if known."""
    try:
        value = read_sealed(folder / INDEX, expected=seal)
    except FileNotFoundError:
        return {}, [f"{folder / INDEX} is missing"]
    except (OSError, ValueError) as error:
        return {}, [f"{folder / INDEX}: {error}"]
    adapters = {user: folder / entry["folder"] / "final" for user, entry in value["users"].items()}
    found = [
        fault
        for user, path in adapters.items()
        for fault in checkpoint_faults(path, seal=value["users"][user]["seal"], digest=digest)
    ]
    return adapters, found
