"""The choice of a trained model among candidates, as run.json and published files hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from perbench.disk.digests import canonical_digest
from perbench.shapes.base import Strict
from perbench.store.record import Better


class Candidate(Strict):
    """A model trained with `values` of the axes, with every seed. `trainings` and `cells` are the identities
    of its trainings, and of the evaluations it is compared by; `scores` are theirs by seed, `score` the mean
    over the seeds that count."""

    model_config = ConfigDict(allow_inf_nan=False)

    values: Annotated[dict[str, Any], Field(min_length=1)]
    trainings: list[str]
    cells: list[str] = []
    scores: dict[str, float] = {}
    score: float | None = None
    left_out: str = ""
    """Why it was not compared."""


class Choice(Strict):
    """One choice of a matrix's `select`, or under `on: source` a setting that the matrix gives for each
    source. `chosen` is an index of `candidates`, None before or without a choice; `seeds` are those that
    count; `notes` say what was unusual: ties, failures, missing seeds."""

    model: str
    trainer: str
    source: str
    on: Literal["val", "test", "source"]
    metric: str = ""
    better: Better | None = None
    candidates: Annotated[list[Candidate], Field(min_length=1)]
    chosen: int | None = None
    seeds: list[int] = []
    notes: list[str] = []

    @model_validator(mode="after")
    def _one_of_them(self) -> Choice:
        if self.chosen is not None and not 0 <= self.chosen < len(self.candidates):
            raise ValueError(f"chosen: there is no candidate {self.chosen}")
        return self

    @property
    def winner(self) -> Candidate | None:
        return None if self.chosen is None else self.candidates[self.chosen]

    @property
    def key(self) -> str:
        """Equal for choices among the same trainings by the same rule."""
        return canonical_digest([self.on, self.metric, *sorted(self.trainings)])

    @property
    def trainings(self) -> Iterator[str]:
        return (name for one in self.candidates for name in one.trainings)

    @property
    def axes(self) -> list[str]:
        return list(self.candidates[0].values)

    def losers(self, trained_by: str | None, identity: str) -> bool:
        """Whether a cell is only of the comparison: a training that was not chosen, or an evaluation of one;
        on the validation split, any."""
        winner = self.winner
        kept = winner.trainings if winner is not None else []
        if self.on == "val" and any(identity in one.cells for one in self.candidates):
            return True
        mine = trained_by or identity
        return mine in self.trainings and mine not in kept
