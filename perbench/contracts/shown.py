"""Stored samples in the form in which people read them: what `Protocol.shown` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from perbench.contracts import missing
from perbench.contracts.resume import Sample
from perbench.store.record import Better, CellRecord, Scores
from perbench.text.pieces import Piece

if TYPE_CHECKING:
    from perbench.contracts.data import Example

Score = float | None
S = TypeVar("S", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Exchange:
    """One exchange of a dialogue: the user's message, the reply of the model under evaluation and its scores.
    `sample`: the stored sample's id."""

    sample: str
    message: str
    reply: str
    missing: str | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """All samples of one example; an unknown part is None or empty. A dialogue has `turns` instead of
    `prompt` and `answer`."""

    id: str
    """The example's."""
    user: str | None = None
    persona: tuple[str, ...] | None = None
    """The items in the prompt, in its order. If None, that is the first `kept` by priority of the example's
    own, under the task's prompt form."""
    kept: int | None = None
    """Number of history items in the prompt; None for all."""
    trimmed: int = 0
    """Number of history items that did not fit."""
    prompt: tuple[tuple[str, str], ...] = ()
    """Role and text of each message. With `persona` None, the task's prompt form replaces it."""
    answer: str = ""
    missing: str | None = None
    """Why there is no answer (`contracts.missing`)."""
    reference: str | None = None
    turns: tuple[Exchange, ...] = ()
    pieces: tuple[Piece, ...] = ()
    """The answer with its marks; empty without marks."""
    reference_pieces: tuple[Piece, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    """Other facts by name: the verdicts of a judge, the gold spans."""
    notes: tuple[str, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    """By metric; of a dialogue, the mean over the turns that count. Filled in by the reader of samples."""


@dataclass(frozen=True)
class StoredCell:
    """A cell's record, a function that reads its samples, and its scores; `matrices` are the resolved specs
    of its run, by any name."""

    record: CellRecord
    samples: Callable[[], Sequence[Sample]]
    scores: Scores | None
    matrices: Mapping[str, Any]


class Reads(Protocol):
    """Reads cells' samples, completed from the data on this machine."""

    def read(self, cell: StoredCell) -> Sequence[Shown]:
        """All samples of the test split, by example. Raises DamagedRecord."""

    def scores(self, cell: StoredCell) -> Mapping[str, Mapping[str, Score]]:
        """Scores by example and metric; of several samples of an example, the mean."""


Shades = Callable[[StoredCell, Sequence[Shown]], Sequence[Shown]]
"""Gives samples the `pieces` of their texts, with the PIR of each token as `value`."""


def plain(sample: Sample, example: Example | None = None) -> Shown:
    """A sample by the names that protocols usually give to its parts; question and reference may be the
    example's."""
    asked, reference = sample.get("question"), sample.get("reference")
    if example is not None:
        asked, reference = asked or example.question, reference or example.reference
    return Shown(
        id=str(sample["id"]),
        user=str(sample["user"]) if "user" in sample else None,
        kept=sample.get("persona_kept"),
        trimmed=sample.get("persona_trimmed", 0),
        prompt=(("user", str(asked)),) if asked else (),
        answer=str(sample.get("response", "")),
        missing=missing.reason(sample),
        reference=str(reference) if reference else None,
        notes=cut(sample),
    )


def exchanges(name: str, samples: Sequence[Sample]) -> Shown:
    """The turns of example `name`, one per sample, by the same names and `message`."""
    turns = [
        Exchange(
            one.id,
            str(sample.get("message", sample.get("question", ""))),
            one.answer,
            one.missing,
            notes=one.notes,
        )
        for sample, one in zip(samples, map(plain, samples), strict=True)
    ]
    return Shown(id=name, user=samples[0].get("user"), turns=tuple(turns))


def tested(samples: Sequence[S]) -> list[S]:
    """The samples of the test split: those without a `split`, or with "test"."""
    return [sample for sample in samples if sample.get("split", "test") == "test"]


def cut(sample: Sample) -> tuple[str, ...]:
    """The note on an answer that reached the maximum number of tokens, if this one did."""
    if sample.get("finish_reason") != "length":
        return ()
    return (f"cut at {sample['new_tokens']} tokens" if "new_tokens" in sample else "cut at the token limit",)


def worst_first(scores: Mapping[str, Score], better: Better) -> list[str]:
    """The ids that have a score, from the worst to the best; equal ones by id."""
    sign = -1 if better == "lower" else 1
    scored = [(sign * score, name) for name, score in scores.items() if score is not None]
    return [name for _, name in sorted(scored)]


def mean(values: Iterable[Score]) -> Score:
    """The mean of the known values."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
