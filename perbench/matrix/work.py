"""The work of a cell: train, or make samples and score them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perbench.lm.models import ResolvedModel
from perbench.matrix.cells import Cell
from perbench.matrix.engines import EnginePool
from perbench.matrix.prepare import EvaluationInput, TrainingInput
from perbench.matrix.weights import USERS
from perbench.seeds import derive_seed
from perbench.specs.compose import owner_of
from perbench.store import CellDir, Metric
from perbench.store.check import check_ids
from perbench.store.record import Better

if TYPE_CHECKING:
    from perbench.progress import Tick


@dataclass(frozen=True)
class WorkResult:
    """The results of the work, named as in the record. `notes` are those that follow from samples."""

    tokens: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    better: dict[str, Better | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    training_log: list[dict[str, float]] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)


def train(
    cell: Cell, given: TrainingInput, model: ResolvedModel, folder: CellDir, tick: Tick, track: str | None
) -> WorkResult:
    """Train the cell's model, then users' own adapters on top; on all processes of the run alike. `track`
    names a tracker."""
    from perbench.training import fit
    from perbench.training.per_user import fit_users, steps_of

    trainer, spec = cell.trainer, cell.training
    assert trainer is not None
    assert spec is not None
    later = steps_of(given.own, spec.user_stage) if given.own is not None else 0
    found = fit(
        model,
        trainer,
        given.pairs,
        given.ids,
        spec,
        seed=cell.seed,
        folder=folder.checkpoint,
        tick=lambda done, total, figures: tick(done, total + later, figures),
        log=folder.log,
        track=track,
    )
    task = WorkResult(
        found.tokens,
        {"steps": found.steps},
        notes=found.notes,
        training_log=found.log,
        weights={"final": found.seal},
    )
    if given.own is None:
        return task
    users = fit_users(
        model,
        trainer,
        given.own,
        spec.user_stage,
        start=found.checkpoint,
        seed=lambda user: derive_seed("user", cell.seed, user),
        folder=folder.checkpoint / USERS,
        tick=lambda done, total, figures: tick(found.steps + done, found.steps + total, figures),
        guard=folder.log.guard,
    )
    return replace(
        task,
        tokens=task.tokens | {f"own_{name}": count for name, count in users.tokens.items()},
        counts=task.counts | {"own_steps": users.steps},
        notes=[*task.notes, *users.notes],
        weights=task.weights | {USERS: users.seal},
    )


def evaluate(cell: Cell, given: EvaluationInput, pool: EnginePool, folder: CellDir, tick: Tick) -> WorkResult:
    """Make the missing samples, and score all. Raises DamagedRecord as `check_ids`."""
    protocol = owner_of(cell.task.spec)
    if cell.identifier is not None:
        engine = pool.serve(cell.model, None) if cell.identifier.needs_model else None
        tokens = protocol.identify(
            given.data, cell.identifier, engine, folder, planned=given.ids, dev=cell.dev, tick=tick
        )
    else:
        pool.serve(cell.model, given.checkpoint, given.users)
        tokens = protocol.run(given.data, pool, folder, planned=given.ids, seed=cell.seed, tick=tick)
    samples = folder.samples()
    check_ids(given.ids, [sample["id"] for sample in samples], folder.path)
    scored = protocol.checked(samples)
    folder.write_scores(scored.scores)
    better = protocol.better(scored.metrics)
    return WorkResult(tokens, scored.counts, scored.metrics, better, scored.notes)
