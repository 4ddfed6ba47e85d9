"""Cuts a text into pieces with the same marks, for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from perbench.text.marks import Gold, Marks, Token, read


@dataclass(frozen=True)
class Piece:
    """Consecutive characters with the same marks: `value` is the score of their token. `state`: hit, wrong
    (predicted, not gold), missed (gold, not predicted) or empty; `source`: 1-based index of the persona item
    behind a predicted token, at the token's end."""

    text: str
    value: float | None = None
    gold: bool = False
    state: str = ""
    title: str = ""
    source: int | None = None


def pieces(sample: Mapping[str, Any], marks: Marks | None = None) -> tuple[Piece, ...]:
    """The response of a stored sample of protocol identification. Of tokens that share a character (parts of
    its bytes), the one with the highest score is shown."""
    marks = read(sample) if marks is None else marks
    response, threshold, persona = sample["response"], sample["threshold"], sample["persona"]
    at: list[tuple[int | None, int | None]] = [(None, None)] * len(response)
    for place, span in enumerate(marks.gold):
        for char in range(span.start, span.end):
            at[char] = (None, place)
    for number, token in sorted(enumerate(marks.tokens), key=lambda pair: pair[1].score):
        for char in range(*token.span):
            at[char] = (number, at[char][1])
    found = []
    for (number_, place), group in groupby(range(len(response)), key=lambda char: at[char]):
        chars = list(group)
        text = response[chars[0] : chars[-1] + 1]
        gold = marks.gold[place] if place is not None else None
        if number_ is None:
            found.append(Piece(text, gold=gold is not None))
            continue
        token = marks.tokens[number_]
        chosen = token.score > threshold
        state = ("hit" if token.inside else "wrong") if chosen else "missed" if token.touched else ""
        last = chosen and token.source is not None and chars[-1] + 1 == token.span[1]
        found.append(
            Piece(
                text,
                token.score,
                gold is not None,
                state,
                _title(token, threshold, gold, persona),
                token.source + 1 if last and token.source is not None else None,
            )
        )
    return tuple(found)


def _title(token: Token, threshold: float, gold: Gold | None, persona: Sequence[str]) -> str:
    above = "above" if token.score > threshold else "not above"
    score = f"{token.score:.3f}".replace("-", "−") if round(token.score, 3) else "0.000"
    parts = [f"score {score}, {above} the threshold {threshold:g}"]
    if gold is not None:
        parts.append(f"gold, {gold.kind}" if gold.kind else "gold")
        if gold.sentence is not None and 0 <= gold.sentence < len(persona):
            parts.append(f"supported by “{persona[gold.sentence]}”")
    if token.source is not None:
        parts.append(f"the identifier names “{persona[token.source]}”")
    return " · ".join(parts)
