"""The data of the compare page: classic scripts, because a page opened as a file may load nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from perbench.console.printing import printable
from perbench.contracts.shown import Exchange
from perbench.site.cells.facts import title_of
from perbench.site.cells.places import CellPlace
from perbench.site.cells.samples import Card, pir_level
from perbench.site.format import number
from perbench.site.rows import head_of
from perbench.store import CellRecord
from perbench.text.pieces import Piece

FOLDER = "data/samples"


def script(value: Mapping[str, Any]) -> str:
    """Hands `value` to the page. SampleTexts have no invisible or reordering characters."""
    found = _text(value)
    if "\\" in found or printable(found) != found:
        found = _text(_clean(value))
    return f"perbench.take({found});\n"


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value


def prompts_file(column: int) -> str:
    return f"{FOLDER}/target-{column + 1}.js"


def answers_file(record: CellRecord) -> str:
    return f"{FOLDER}/{record.identity[:16]}.js"


def prompts_of(column: int, cards: Sequence[Card]) -> str:
    """What all cells of a column share: the examples."""
    examples = {
        card.key: {
            "id": card.shown.id,
            "user": card.shown.user,
            "persona": card.shown.persona,
            "prompt": card.shown.prompt,
            "reference": card.shown.reference,
            "referencePieces": _pieces(card.shown.reference_pieces),
        }
        for card in cards
    }
    return script({"target": column + 1, "examples": examples})


def answers_of(record: CellRecord, cards: Sequence[Card]) -> str:
    answers = {
        card.key: {
            "answer": card.shown.answer,
            "pieces": _pieces(card.shown.pieces),
            "missing": card.shown.missing,
            "score": card.score,
            "notes": card.shown.notes,
            "turns": [_turn(turn) for turn in card.shown.turns],
            "page": f"cells/{card.file}#s-{card.key}",
        }
        for card in cards
    }
    return script({"cell": record.identity[:16], "answers": answers})


def _turn(turn: Exchange) -> dict[str, Any]:
    scores = [f"{name} {'none' if one is None else short(one)}" for name, one in turn.scores.items()]
    return {
        "message": turn.message,
        "reply": turn.reply,
        "missing": turn.missing,
        "scores": ", ".join(scores),
    }


def short(value: float) -> str:
    """A score of a turn: ratings are whole numbers."""
    return number(value, 0 if value == int(value) else 2)


def _pieces(pieces: Sequence[Piece]) -> list[tuple[str, int, str]]:
    """Text, level of the shade and its value; runs without a shade are joined."""
    found: list[tuple[str, int, str]] = []
    for piece in pieces:
        level = pir_level(piece.value)
        if not level and found and not found[-1][1]:
            found[-1] = (found[-1][0] + piece.text, 0, "")
        else:
            found.append((piece.text, level, number(piece.value or 0.0, 1) if level else ""))
    return found


def cells_of(places: Mapping[str, CellPlace], written: Sequence[CellRecord], baseline: str | None) -> str:
    """The cells that can be compared, by column."""
    targets: dict[int, dict[str, Any]] = {}
    for record in written:
        place = places[record.identity]
        column, head = place.column, head_of(place.row)
        target = targets.setdefault(
            place.number,
            {
                "number": place.number + 1,
                "name": column.title,
                "metric": title_of(record, column.headline or "").partition(",")[0],
                "better": column.better,
                "digits": column.digits,
                "cells": [],
            },
        )
        gain = place.gain(baseline)
        metric = record.metrics.get(record.headline or "")
        target["cells"].append(
            {
                "id": record.identity[:16],
                "name": head.name,
                "variation": head.variation,
                "source": place.row.source,
                "model": " ".join(filter(None, (record.labels.model, record.labels.model_label))),
                "seed": record.labels.seed,
                "score": metric.value if metric is not None else None,
                "base": place.base.identity[:16] if place.base is not None else None,
                "gain": " (".join(gain) + ")" if gain is not None else None,
            }
        )
    ordered = [targets[number_] for number_ in sorted(targets)]
    return script({"baseline": baseline, "targets": ordered})
