"""Prepares stored identification samples for reading: the tokens of each answer with scores, gold and errors,
for one or several identifiers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perbench.contracts import missing
from perbench.contracts.section import Samples
from perbench.site.format import variation
from perbench.store import CellRecord
from perbench.text.marks import read
from perbench.text.pieces import Piece, pieces

LEVELS = 5
"""Shades of a score, besides none."""
FULL = 0.99
"""Quantile of an identifier's scores at which the shade is full."""


@dataclass(frozen=True)
class Shaded(Piece):
    level: int = 0


@dataclass(frozen=True)
class MarkedAnswer:
    """One identifier's reading of an answer; `wrong` and `missed` are its errors as (text, score), counted as
    in the headline: tokens, rule contained."""

    pieces: tuple[Shaded, ...]
    wrong: tuple[tuple[str, float], ...]
    missed: tuple[tuple[str, float], ...]

    @property
    def errors(self) -> int:
        return len(self.wrong) + len(self.missed)

    @property
    def highest_wrong(self) -> float | None:
        return max((score for _, score in self.wrong), default=None)

    @property
    def lowest_missed(self) -> float | None:
        return min((score for _, score in self.missed), default=None)


@dataclass(frozen=True)
class MarkedExample:
    """One example; `answers` has one entry per column, None if that identifier has no score of it."""

    id: str
    persona: tuple[str, ...]
    question: str
    gold: tuple[str, ...]
    answers: tuple[MarkedAnswer | None, ...]

    @property
    def errors(self) -> int:
        return sum(answer.errors for answer in self.answers if answer is not None)


@dataclass(frozen=True)
class Identified:
    """An identifier and how to read its scores; `full` is the score with a full shade."""

    name: str
    params: str
    model: str
    target: str
    thresholds: tuple[float, ...]
    full: float
    error: str | None = None

    @property
    def title(self) -> str:
        return f"{self.name} {self.params}".rstrip()

    @property
    def threshold(self) -> str:
        """ "0.5", "0.2 to 3 by answer"."""
        if not self.thresholds:
            return "none"
        low, high = self.thresholds[0], self.thresholds[-1]
        return f"{low:g}" if low == high else f"{low:.3g} to {high:.3g} by answer"


@dataclass(frozen=True)
class SpansView:
    """Examples of the test split, most errors first."""

    columns: tuple[Identified, ...]
    examples: tuple[MarkedExample, ...]


def spans_view(cells: Sequence[tuple[CellRecord, Samples]]) -> SpansView:
    """The view of identify records and their stored samples, with the identifiers' own thresholds."""
    columns, readings = [], []
    examples: dict[str, Mapping[str, Any]] = {}
    for record, samples in cells:
        test = [one for one in samples if one["split"] == "test" and missing.reason(one) is None]
        scores = sorted(score for sample in test for score in sample["scores"])
        full = scores[int(FULL * (len(scores) - 1))] if scores else 0.0
        if full <= 0 and scores:  # an identifier with hardly any score above 0
            full = scores[-1]
        labels = record.labels
        columns.append(
            Identified(
                labels.identifier or "unnamed",
                variation(labels.identifier_params),
                labels.model,
                labels.target or "",
                tuple(sorted({sample["threshold"] for sample in test})),
                full,
                record.error.message if record.error else None,
            )
        )
        readings.append({sample["id"]: read_answer(sample, full) for sample in test})
        for sample in test:
            examples.setdefault(sample["id"], sample)
    shown = [
        MarkedExample(
            name,
            tuple(sample["persona"]),
            sample["question"],
            tuple(sample["response"][start:end] for start, end in sample["gold"]),
            tuple(found.get(name) for found in readings),
        )
        for name, sample in examples.items()
    ]
    shown.sort(key=lambda example: -example.errors)
    return SpansView(tuple(columns), tuple(shown))


def read_answer(sample: Mapping[str, Any], full: float) -> MarkedAnswer:
    """A stored sample; scores of `full` or more get the deepest shade, 0 or less none."""
    marks, threshold, response = read(sample), sample["threshold"], sample["response"]
    wrong, missed = [], []
    for token in marks.tokens:
        error = (response[slice(*token.span)], token.score)
        if token.score > threshold and not token.inside:
            wrong.append(error)
        if token.touched and not (token.score > threshold and token.inside):
            missed.append(error)
    shaded = (Shaded(**vars(piece), level=_level(piece.value, full)) for piece in pieces(sample, marks))
    return MarkedAnswer(tuple(shaded), tuple(wrong), tuple(missed))


def _level(score: float | None, full: float) -> int:
    return max(0, min(LEVELS, int(LEVELS * (score or 0.0) / full + 0.5))) if full > 0 else 0
