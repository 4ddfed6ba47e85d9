"""Builds the record of a cell: the results of its work, and how it was made."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perbench import processes
from perbench.errors import PerbenchError
from perbench.lm.memory import peak_mb
from perbench.lm.native import native
from perbench.matrix import overlaps
from perbench.matrix.cells import Cell
from perbench.matrix.prepare import EvaluationInput, TrainingInput
from perbench.matrix.work import WorkResult
from perbench.plugins.faults import fault_of
from perbench.specs.compose import engine_of
from perbench.store import CellDir, CellRecord, EndpointUse, Failure
from perbench.store.environment import capture, shorten
from perbench.store.ledger import Ledger, caveats


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Attempt:
    """One start of a cell. `notes`: what was lost of earlier starts."""

    cell: Cell
    folder: CellDir
    started: str
    ledger: Ledger
    notes: list[str]


def record_of(
    attempt: Attempt,
    given: TrainingInput | EvaluationInput | None,
    outcome: WorkResult | Exception,
    endpoints: dict[str, EndpointUse],
    command: str,
) -> CellRecord:
    """The record of an attempt that finished or was ended by an exception; `given` is None if preparation
    failed."""
    cell, folder = attempt.cell, attempt.folder
    counts = {**(given.counts if given is not None else {}), **overlaps.counts(cell)}
    counts |= cell.data.counts
    counts |= {f"rows_skipped_{why}": number for why, number in cell.data.skipped.items()}
    own = [*attempt.ledger.notes(), *attempt.notes]
    found: dict[str, Any] = {"status": "failed"}
    scored: list[str] = []
    if isinstance(outcome, WorkResult):
        counts |= outcome.counts
        scored = outcome.notes
        own += given.notes if given is not None else []
        found = {
            "status": "done",
            "metrics": outcome.metrics,
            "better": outcome.better,
            "tokens": outcome.tokens,
            "training_log": outcome.training_log,
            "weights": outcome.weights,
        }
    else:
        found["error"] = _failure(outcome)
    seen = overlaps.overlap_notes(cell.labels, counts) if cell.kind != "train" else []
    return CellRecord(
        kind=cell.kind,
        identity=cell.identity,
        inputs=cell.inputs,
        labels=cell.labels,
        headline=cell.task.spec.headline if cell.kind != "train" else None,
        notes=[*scored, *seen, *caveats(endpoints), *own],
        run_notes=own,
        counts=counts,
        endpoints=endpoints,
        seconds=round(folder.seconds(), 3),
        peak_memory_mb=peak_mb(),
        started=attempt.started,
        finished=now(),
        environment={**capture(), "data": cell.data.source, **_computed_how(cell)},
        command=command,
        trained_by=cell.needs.identity if cell.needs is not None else None,
        **found,
    )


def _computed_how(cell: Cell) -> dict[str, Any]:
    """Machine-dependent settings."""
    if cell.training is None:
        named = cell.model.spec.dtype
        weights = engine_of(cell.model).weights
        return {"dtype": native() if named == "auto" else named} if weights else {}
    from perbench.training.network import precision

    return {"precision": precision(cell.training), "processes": processes.group().world}


def _failure(error: Exception) -> Failure:
    name = type(error).__name__
    text = "".join(traceback.format_exception(error))
    fault = None if isinstance(error, PerbenchError) else fault_of(error)
    message = fault.message(fault.place) if fault is not None else str(error) or name
    return Failure(type=name, message=shorten(message), traceback=shorten(text))
