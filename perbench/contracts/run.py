"""The interface between protocols and a run.

A protocol appends finished samples in fixed batches, in a fixed order. Every batch has its own seed; an
incomplete batch is computed again as a whole, and only missing samples are appended. Or samples are streamed:
each has its own seed and is appended when it is finished; in the end they are put in order. A run that was
killed and restarted therefore stores the same samples as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from perbench.contracts.engine import Conversation, Engine, Generation, TokenIds
from perbench.lm.context import TooLong
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import TaskSpec
from perbench.store.record import Metric, Scores

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class Engines(Protocol):
    """The models of an evaluation."""

    @property
    def subject(self) -> Engine:
        """The model under evaluation."""

    @property
    def users(self) -> Mapping[str, Path] | None:
        """Users' own adapters on top of `subject`, by user; None if the training made none."""

    def subject_of(self, user: str | None) -> AbstractContextManager[Engine]:
        """`subject` with the adapter of a user of `users` during the block; None for no adapter."""

    def named(self, model: str) -> Engine:
        """A simulator's or judge's model, by its registry name."""

    def scorer(self, model: str | None) -> Engine:
        """The model that scores given texts: a named one, else the model under evaluation before training.

        Raises:
            PerbenchError: it is unavailable.
        """

    @property
    def untrained(self) -> bool:
        """Whether `subject` is the model as it was before training."""

    def base_logp(
        self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]
    ) -> list[np.ndarray[Any, Any]]:
        """`Engine.score` by the model under evaluation before training: computed once for all of its rows,
        and kept in the user cache. Not inside `subject_of`.

        Raises:
            PerbenchError: it gives no log-probs.
        """


class SampleStore(Protocol):
    """A cell's samples: dicts of JSON values, each with a unique "id"."""

    def samples(self) -> Sequence[Mapping[str, Any]]: ...

    def append(self, samples: Sequence[Mapping[str, Any]]) -> None: ...

    def arrange(self, ids: Sequence[str]) -> None:
        """Order all samples as `ids`, so that nothing depends on which was finished first."""


@dataclass(frozen=True)
class Scored:
    """The scores of stored samples. `notes` are caveats shown with the numbers."""

    scores: Scores
    metrics: dict[str, Metric]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)


def ask(
    task: TaskSpec,
    engine: Engine,
    conversations: Sequence[Conversation],
    sampling: SamplingSpec,
    *,
    seed: int,
) -> list[Generation]:
    """As `Engine.chat`; requests that are too long are missing unless the task sets `on_too_long: fail`.

    Raises:
        TooLong: the task sets `fail`.
    """
    try:
        return engine.chat(conversations, sampling, seed=seed, skip=task.on_too_long != "fail")
    except TooLong as error:
        raise TooLong(f"{error}, or set the task's on_too_long: skip") from None


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Consecutive batches of `size`; the last may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]
