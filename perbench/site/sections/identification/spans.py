"""Prepares stored identification samples for reading: the tokens of each answer with scores, gold and errors,
for one or several identifiers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from perbench.contracts import missing
from perbench.contracts.section import Samples
from perbench.site.format import number, variation
from perbench.store import CellRecord
from perbench.text.marks import Gold, Marks, Token, read

LEVELS = 5
"""Shades of a score, besides none."""
FULL = 0.99
"""Quantile of an identifier's scores at which the shade is full."""


@dataclass(frozen=True)
class Piece:
    """Characters of an answer with the same look. `state`: hit, wrong (predicted, not gold), missed (gold,
    not predicted) or empty; `source`: 1-based index of the persona sentence behind a predicted token, at the
    token's end."""

    text: str
    level: int = 0
    gold: bool = False
    state: str = ""
    title: str = ""
    source: int | None = None


@dataclass(frozen=True)
class MarkedAnswer:
    """One identifier's reading of an answer; `wrong` and `missed` are its errors as (text, score), counted as
    in the headline: tokens, rule contained."""

    pieces: tuple[Piece, ...]
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
    return MarkedAnswer(_pieces(marks, sample, full), tuple(wrong), tuple(missed))


def _pieces(marks: Marks, sample: Mapping[str, Any], full: float) -> tuple[Piece, ...]:
    """Of tokens that share a character (parts of its bytes), the one with the highest score is shown."""
    response, threshold, persona = sample["response"], sample["threshold"], sample["persona"]
    at: list[tuple[int | None, int | None]] = [(None, None)] * len(response)
    for place, span in enumerate(marks.gold):
        for char in range(span.start, span.end):
            at[char] = (None, place)
    for number_, token in sorted(enumerate(marks.tokens), key=lambda pair: pair[1].score):
        for char in range(*token.span):
            at[char] = (number_, at[char][1])
    pieces = []
    for (number_, place), group in groupby(range(len(response)), key=lambda char: at[char]):
        chars = list(group)
        text = response[chars[0] : chars[-1] + 1]
        of = marks.gold[place] if place is not None else None
        if number_ is None:
            pieces.append(Piece(text, gold=of is not None))
            continue
        token = marks.tokens[number_]
        chosen = token.score > threshold
        state = ("hit" if token.inside else "wrong") if chosen else "missed" if token.touched else ""
        last = chosen and token.source is not None and chars[-1] + 1 == token.span[1]
        pieces.append(
            Piece(
                text,
                _level(token.score, full),
                of is not None,
                state,
                _title(token, threshold, of, persona),
                token.source + 1 if last and token.source is not None else None,
            )
        )
    return tuple(pieces)


def _level(score: float, full: float) -> int:
    return max(0, min(LEVELS, int(LEVELS * score / full + 0.5))) if full > 0 else 0


def _title(token: Token, threshold: float, gold: Gold | None, persona: Sequence[str]) -> str:
    above = "above" if token.score > threshold else "not above"
    parts = [f"score {number(token.score, 3)}, {above} the threshold {threshold:g}"]
    if gold is not None:
        parts.append(f"gold, {gold.kind}" if gold.kind else "gold")
        if gold.sentence is not None and 0 <= gold.sentence < len(persona):
            parts.append(f"supported by “{persona[gold.sentence]}”")
    if token.source is not None:
        parts.append(f"the identifier names “{persona[token.source]}”")
    return " · ".join(parts)
