"""The input of results sections: the records, and the matrix of models by targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from perbench.plugins import Plugin
from perbench.progress import counted
from perbench.stats.paired import ALPHA, Aligned, Estimate
from perbench.stats.spread import FEWEST_USERS
from perbench.store.check import DamagedRecord
from perbench.store.record import Better, CellRecord, Scores
from perbench.store.selection import Choice

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, ArithmeticError, AttributeError)
"""Exceptions that code may raise on values from untrusted files."""
CHOSEN_ON_TEST = (
    "biased upward: a setting was chosen by test scores on the model's own task, so its scores there "
    "come out too high"
)
FEW_USERS = 5
"""Intervals over fewer users carry a remark."""


@dataclass(frozen=True)
class Entry:
    """A cell's record with its per-sample scores and the name of its run; `planned`: whether it is in one of
    the run's latest plans, which supersede others of the run with the same labels."""

    record: CellRecord
    scores: Scores | None
    run: str
    planned: bool = False
    samples: Callable[[], Sequence[Mapping[str, Any]]] | None = field(default=None, compare=False, repr=False)
    """Reads the stored samples, or raises DamagedRecord; None if there are none here. Use it in `reading`."""
    file: Path | None = field(default=None, compare=False, repr=False)
    """The published file or pack that holds it; anybody may have written its samples."""
    withheld: str = field(default="", compare=False)
    """Why this copy of the cell holds digests in place of its samples."""
    folder: Path | None = field(default=None, compare=False, repr=False)
    """Of the cell in a run directory."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around everything that reads the samples.

        Raises:
            DamagedRecord: those of a published file or pack are not what their protocol stores.
        """
        try:
            yield
        except UNREADABLE as error:
            if self.file is None:
                raise
            what = f"samples of {self.record.identity[:16]} cannot be read: {type(error).__name__}: {error}"
            raise DamagedRecord(self.file, what, "get the file again from whoever made it") from None

    @property
    def users(self) -> int | None:
        """Number of users (or personas) of the samples, over which intervals are computed."""
        return len(set(self.scores.clusters)) if self.scores is not None else None

    @property
    def size(self) -> int | None:
        """Number of examples; None if unknown."""
        return len(self.scores.ids) if self.scores is not None else self.record.counts.get("samples")


@dataclass(frozen=True)
class Loaded:
    """`superseded`: pairs of a hidden record and the one that replaces it in its run's latest plan;
    `trainings`: the inputs of all train cells, by identity; `baseline`: the trainer against which gains are
    measured, None if no row can be one; `matrices`: the runs' resolved specs; `names`: the participants of
    their latest plans, as in `Labels.names`; `damaged`: files left out because they differ from what perbench
    wrote."""

    entries: tuple[Entry, ...]
    superseded: tuple[tuple[Entry, Entry], ...]
    trainings: Mapping[str, Mapping[str, Any]]
    baseline: str | None
    matrices: tuple[Mapping[str, Any], ...]
    names: tuple[str, ...]
    damaged: tuple[DamagedRecord, ...] = ()
    waiting: int = 0
    """How many cells of the latest plans have no record yet."""
    plugins: tuple[Plugin, ...] = ()
    """Files of plugins that came with the records, to be read as text only."""
    choices: tuple[Choice, ...] = ()
    """Those of the matrices' selections."""
    aside: frozenset[str] = frozenset()
    """Identities of cells that only served a choice: tables of results leave them out."""
    settled: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    """By the identity of a training, the choices that it won: their axes do not tell its rows apart."""
    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By identity, the profiles of the matrices that planned a cell."""
    baseline_target: str | None = None
    """The variant of each target on which the baseline is evaluated, if it is another."""

    @cached_property
    def results(self) -> tuple[Entry, ...]:
        """The entries that tables of results hold."""
        return tuple(entry for entry in self.entries if entry.record.identity not in self.aside)

    @property
    def unverifiable(self) -> int:
        return sum(not entry.record.verifiable for entry in self.entries)


@dataclass(frozen=True)
class Flag:
    """A caveat of a value. `text` is for a page; `short` for a terminal's table, explained below by `key`, or
    by `text` without a `key`. A `grave` one is shown in red, at every value."""

    text: str
    short: str
    key: str = ""
    grave: bool = False


@dataclass(frozen=True)
class ModelRow:
    """A trained model over all seeds; trainer and source are None for the base model. `variation`
    distinguishes this row from others of its trainer: hyperparameters as in the labels, then `apart`.

    `start`, `setting` and `method` determine the weights, as JSON: the model before training; data and
    settings common to all trainers; the trainer with its own settings. `apart` describes their differences
    from rows of the same name.
    """

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
    chosen: str = ""
    """Values that a selection chose, or the matrix gives by source, as JSON: {"learning_rate": 2e-05}."""
    chosen_on: str = ""
    """ "val", "test", or "" if no selection chose them."""

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Caveats of all of its values."""
        if self.chosen_on != "test":
            return ()
        text = f"biased upward on {self.source}"
        return (Flag(text, "biased upward", CHOSEN_ON_TEST, grave=True),)


@dataclass(frozen=True)
class TargetColumn:
    """A target task on the same data with the same settings; `apart` distinguishes it in words from other
    columns of the task, or is "". `better` is the headline's; `sizes` and `users` are the minimum and maximum
    numbers of samples and users behind its values; `detectable` is the smallest difference from the baseline
    that such data would usually show after Holm's correction, `ranked` the number of models with ranks and
    `unranked` why there are none: fewer than 3 models with scores by sample, more than 300, or no test.
    `metric` is the headline's title, `protocol` and `task` the protocol's name and title, "" if unknown."""

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
    unranked: Literal["", "few", "many", "untested"] = ""
    metric: str = ""
    protocol: str = ""
    task: str = ""
    profile: str = ""
    """The profiles of its cells, if others of the results have others."""

    @property
    def title(self) -> str:
        """ "longlamp/pag · 8 examples"."""
        return " · ".join(filter(None, (self.target, self.apart)))

    @property
    def kind(self) -> tuple[str, str | None, Better | None, str]:
        """Equal for columns whose gains may be averaged."""
        return self.protocol, self.headline, self.better, self.profile


@dataclass(frozen=True)
class Mean:
    """A metric's value, averaged over seeds. `n` counts samples, `missing` those without a score; `users` is
    the number of users behind the interval, None if unknown; `aside` explains a missing interval, or one over
    few users."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    missing: int
    flags: tuple[Flag, ...] = ()
    users: int | None = None
    aside: str = ""


def interval_aside(ci: object, users: int | None, same: int = 0) -> str:
    """The remark beside an interval, or in its place; `same`: number of samples if all scored alike."""
    if ci is not None:
        return "few users" if users is not None and users < FEW_USERS else ""
    if users is not None and users < FEWEST_USERS:
        return f"{counted(users, 'user')}: no interval"
    return f"the same on all {same} samples: no interval" if same else "no interval"


@dataclass(frozen=True)
class Outcome:
    """A model on a target. `records` are its cells by seed: first the done ones, averaged by `mean`, then the
    failed ones. `versus`: a gain over the baseline row; the baseline itself; or nothing to compare with."""

    status: Literal["done", "failed", "no record"]
    records: tuple[CellRecord, ...] = ()
    mean: Mean | None = None
    """Of the headline."""
    versus: Literal["baseline", "gain", "none"] = "none"
    gain: Estimate | None = None
    rank: tuple[int, int] | None = None
    """The best and worst rank among the column's models that the data leave possible."""
    own: bool = False
    """Trained on the same task as evaluated."""

    @property
    def status_text(self) -> str:
        """The text in place of a value."""
        return "no score" if self.status == "done" else self.status


@dataclass(frozen=True)
class Paired:
    """The scores behind a column, sample by sample: for gains over other rows than the baseline's."""

    scores: Aligned
    places: Mapping[ModelRow, int]
    """The place in `scores` of each row that has per-sample scores."""


@dataclass(frozen=True)
class Matrix:
    """Trained models (rows) on target tasks (columns). `paired` has an entry per column; `trained` are the
    records of a row's trainings, by seed."""

    columns: tuple[TargetColumn, ...]
    rows: tuple[tuple[ModelRow, tuple[Outcome, ...]], ...]
    baseline: str | None
    unrecorded: tuple[str, ...] = ()
    """Names in the matrices without any record yet."""
    paired: tuple[Paired, ...] = field(default=(), repr=False, compare=False)
    trained: Mapping[ModelRow, tuple[CellRecord, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )
    sparse: bool = False
    """Whether models are evaluated on targets of their own, so that some cells of the table are not meant to
    be."""

    known: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was computed of it for one section and others may need, by whatever names it."""

    @cached_property
    def _met(self) -> frozenset[tuple[str | None, int]]:
        return frozenset(
            (row.source, place)
            for row, outcomes in self.rows
            for place, one in enumerate(outcomes)
            if one.status != "no record"
        )

    def meant(self, row: ModelRow, place: int) -> bool:
        """Whether a row is evaluated on a column; in a sparse table, as far as other rows of its source
        show."""
        return not self.sparse or (row.source, place) in self._met

    @property
    def gains(self) -> list[Estimate]:
        """All gains with an interval."""
        return [one.gain for _, outcomes in self.rows for one in outcomes if one.gain and one.gain.ci]

    @property
    def by_chance(self) -> float:
        """Expected number of the gains' intervals that exclude 0 if nothing differs."""
        return ALPHA * len(self.gains)

    @property
    def excluding_zero(self) -> int:
        return sum(gain.excludes_zero for gain in self.gains)

    @property
    def remaining(self) -> int:
        """Number of gains significant after correction for multiple comparisons."""
        return sum(gain.remains for gain in self.gains)

    @property
    def ranks_of_one_seed(self) -> bool:
        """Whether a trained model has ranks from a single seed, which hold for the model but not for its
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
        """Number of gains with an interval that does not cover other trainings."""
        return sum(gain.seeds == 1 for gain in self.gains)
