"""What a section of the results is given: the records, and the matrix of models by targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from perbench.progress import counted
from perbench.stats.paired import ALPHA, Estimate
from perbench.stats.spread import FEWEST_USERS
from perbench.store.check import DamagedRecord
from perbench.store.record import Better, CellRecord, Scores

FEW_USERS = 5
"""An interval over fewer says so."""


@dataclass(frozen=True)
class Entry:
    """One cell's record with its per-sample scores and the name of the run it was read from; `planned`: it
    belongs to one of the run's latest plans, which replaces others of the run with the same labels."""

    record: CellRecord
    scores: Scores | None
    run: str
    planned: bool = False

    @property
    def users(self) -> int | None:
        """How many users (or personas) the samples come from: what the intervals are over."""
        return len(set(self.scores.clusters)) if self.scores is not None else None

    @property
    def size(self) -> int | None:
        """How many examples were asked, None where nothing says."""
        return len(self.scores.ids) if self.scores is not None else self.record.counts.get("samples")


@dataclass(frozen=True)
class Loaded:
    """`superseded` are pairs of a record that is left out and the one that took its place in its run's latest
    plan; `trainings` the inputs of all train cells, by identity; `baseline` is the trainer that gains are
    measured over, None where no row could be one; `matrices` are the runs' resolved specs, `names` what takes
    part in their latest plans, as `Labels.names` has it; `damaged` is left out because it is not as perbench
    left it."""

    entries: tuple[Entry, ...]
    superseded: tuple[tuple[Entry, Entry], ...]
    trainings: Mapping[str, Mapping[str, Any]]
    baseline: str | None
    matrices: tuple[Mapping[str, Any], ...]
    names: tuple[str, ...]
    damaged: tuple[DamagedRecord, ...] = ()

    @property
    def unverifiable(self) -> int:
        return sum(not entry.record.verifiable for entry in self.entries)


@dataclass(frozen=True)
class Flag:
    """A caveat of a number. `text` for a page; `short` for a cell of a terminal's table, below which `key`
    explains it, or `text` where there is no `key`."""

    text: str
    short: str
    key: str = ""


@dataclass(frozen=True)
class ModelRow:
    """A trained model, seeds left open; trainer and source are None for the base model. `variation` holds
    what tells this row from others of its trainer: hyperparameters by their labels, then `apart`.

    `start`, `setting` and `method` decide the weights, as JSON: the model before training; data and settings
    that all trainers share; the trainer with settings of its own. `apart` says of each in words how it
    differs from that of rows of the same name."""

    model: str
    model_label: str | None
    trainer: str | None
    source: str | None
    variation: str
    training: str
    params: str
    start: str
    setting: str
    method: str
    apart: tuple[str, ...] = ("", "", "")
    runs: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class TargetColumn:
    """A target task, on the same data under the same settings; `apart` says in words what tells it from other
    columns of the task, "" where there are none. `better` is the headline's; `sizes` and `users` are the
    fewest and most samples and users behind its values; `detectable` is the least difference from the
    baseline that such data would mostly find, `ranked` the number of models with ranks."""

    target: str
    apart: str
    headline: str | None
    better: Better | None
    digits: int
    notes: tuple[str, ...]
    sizes: tuple[int, int] | None
    users: tuple[int, int] | None
    detectable: float | None = None
    ranked: int = 0

    @property
    def title(self) -> str:
        """ "longlamp/pag · 8 examples"."""
        return " · ".join(filter(None, (self.target, self.apart)))


@dataclass(frozen=True)
class Mean:
    """A metric's value; several seeds are averaged. `n` counts samples, `missing` those without a score;
    `users` are those whom the interval is over, None where nothing says; `aside` says why there is no
    interval, or that it is over few users."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    missing: int
    flags: tuple[Flag, ...] = ()
    users: int | None = None
    aside: str = ""


def interval_aside(ci: object, users: int | None, same: int = 0) -> str:
    """What is said beside an interval, or in its place; `same`: of so many samples that all scored alike."""
    if ci is not None:
        return "few users" if users is not None and users < FEW_USERS else ""
    if users is not None and users < FEWEST_USERS:
        return f"{counted(users, 'user')}: no interval"
    return f"the same on all {same} samples: no interval" if same else "no interval"


@dataclass(frozen=True)
class Outcome:
    """A model on a target. `records` are the cells behind it, by seed: first the done ones, which `mean` is
    of, then the failed ones.

    `versus`: there is a gain over the baseline row; this is the baseline; or there is nothing to compare."""

    status: Literal["done", "failed", "no record"]
    records: tuple[CellRecord, ...] = ()
    mean: Mean | None = None
    """Of the headline."""
    versus: Literal["baseline", "gain", "none"] = "none"
    gain: Estimate | None = None
    rank: tuple[int, int] | None = None
    """The best and the worst rank among the column's models that the data leave it."""
    own: bool = False
    """Trained on the very task it is evaluated on."""

    @property
    def status_text(self) -> str:
        """What stands in place of a number."""
        return "no score" if self.status == "done" else self.status


@dataclass(frozen=True)
class Matrix:
    """What was trained (rows) against what it was evaluated on (columns)."""

    columns: tuple[TargetColumn, ...]
    rows: tuple[tuple[ModelRow, tuple[Outcome, ...]], ...]
    baseline: str | None
    unrecorded: tuple[str, ...] = ()
    """What the matrices name and no record mentions yet."""

    @property
    def gains(self) -> list[Estimate]:
        """All gains that have an interval."""
        return [one.gain for _, outcomes in self.rows for one in outcomes if one.gain and one.gain.ci]

    @property
    def by_chance(self) -> float:
        """How many of the gains' intervals would exclude 0 if nothing differed."""
        return ALPHA * len(self.gains)

    @property
    def excluding_zero(self) -> int:
        return sum(gain.excludes_zero for gain in self.gains)

    @property
    def remaining(self) -> int:
        """How many gains are told from 0 after the correction for their number."""
        return sum(gain.remains for gain in self.gains)

    @property
    def ranks_of_one_seed(self) -> bool:
        """Whether a trained model has ranks from one seed alone: they hold for the model, not for its
        trainer."""
        return any(
            row.trainer is not None
            and one.rank
            and sum(record.status == "done" for record in one.records) == 1
            for row, outcomes in self.rows
            for one in outcomes
        )

    @property
    def of_one_seed(self) -> int:
        """How many gains have an interval that does not cover other trainings."""
        return sum(gain.seeds == 1 for gain in self.gains)
