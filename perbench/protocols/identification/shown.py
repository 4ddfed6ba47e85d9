"""An answer for reading: its tokens with scores, gold and errors."""

from __future__ import annotations

from dataclasses import replace

from perbench.contracts import missing
from perbench.contracts.resume import Sample
from perbench.contracts.shown import Shown, plain
from perbench.text.pieces import Piece, pieces


def shown(sample: Sample) -> Shown:
    if missing.reason(sample) is not None:
        return plain(sample)
    marked = pieces(sample)
    answer = sample["response"]
    gold = [answer[start:end] for start, end in sample["gold"]]
    details = {
        "gold": gold,
        "wrong": [_scored(piece) for piece in marked if piece.state == "wrong"],
        "missed": [_scored(piece) for piece in marked if piece.state == "missed"],
    }
    return replace(
        plain(sample),
        persona=tuple(sample["persona"]),
        pieces=marked,
        details=tuple((name, ", ".join(found)) for name, found in details.items() if found),
    )


def _scored(piece: Piece) -> str:
    return f"{piece.text} {piece.value:.2f}".replace("-", "−")
