"""Users' own adapters in a run: what they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perbench import processes
from perbench.api import Example
from perbench.data.own import OwnData
from perbench.lm import models
from perbench.lm.context import context_in
from perbench.matrix.cells import Cell
from perbench.matrix.left_out import SKIPPED
from perbench.matrix.weights import USERS
from perbench.seeds import derive_seed
from perbench.store import CellDir

if TYPE_CHECKING:
    from perbench.progress import Tick
    from perbench.prompts.pair import PromptPair
    from perbench.training import FitResult


def train_users(
    cell: Cell,
    model: models.ResolvedModel,
    own: OwnData,
    build: Callable[[Sequence[Example]], list[Example]],
    task: FitResult,
    folder: CellDir,
    tick: Tick,
) -> tuple[FitResult, dict[str, int], str]:
    """Train the users' own adapters on top of `task`, on every process alike. `build` makes the personas that
    the cell's task asks for.

    Returns: `task` with the users' tokens and notes beside its own; what the record counts; the seal of the
        users' adapters.
    """
    from perbench.training.per_user import fit_users

    assert cell.trainer is not None
    assert cell.training is not None
    group = processes.group()
    with group.agreed():
        found = _pairs(cell, own, build, model) if group.main else {}
    made = group.broadcast(found)
    users = fit_users(
        model,
        cell.trainer,
        made,
        cell.training.user_stage,
        start=task.checkpoint,
        seed=lambda user: derive_seed("user", cell.labels.seed, user),
        folder=folder.checkpoint / USERS,
        tick=lambda done, total, figures: tick(task.steps + done, task.steps + total, figures),
    )
    counts = {
        "users": own.users,
        "users_with_adapter": len(made),
        "own_examples": (examples := sum(map(len, made.values()))),
        "own_examples_held_out": own.held_out,
        "own_steps": users.steps,
    }
    if skipped := sum(map(len, own.examples.values())) - examples:
        counts[f"own_{SKIPPED}"] = skipped
    tokens = {**task.tokens, **{f"own_{name}": count for name, count in users.tokens.items()}}
    return replace(task, tokens=tokens, notes=[*task.notes, *users.notes]), counts, users.seal


def _pairs(
    cell: Cell,
    own: OwnData,
    build: Callable[[Sequence[Example]], list[Example]],
    model: models.ResolvedModel,
) -> dict[str, dict[str, PromptPair]]:
    from perbench.prompts.pair import build_pairs

    tokenizer = models.load_tokenizer(model.folder)
    found: dict[str, dict[str, PromptPair]] = {user: {} for user in own.examples}
    built = build([example for examples in own.examples.values() for example in examples])
    context = context_in(model.folder)
    pairs = build_pairs(cell.task.spec, built, tokenizer, with_response=True, context=context)
    for example, pair in zip(built, pairs, strict=True):
        if pair is not None:
            found[example.user][example.id] = pair
    return {user: own_pairs for user, own_pairs in found.items() if own_pairs}
