"""The same reading of answers in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.console.printing import printable
from perbench.site.format import number
from perbench.site.spans import LEVELS, Answer, Piece, Samples, spans_view
from perbench.store import CellRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SHADES = ("", "on #1b3a55", "on #1c486d", "on #1d5786", "on #1e669f", "on #2073b5")
"""Behind white text; contrast 5 and more."""


def print_worst(cells: Sequence[tuple[CellRecord, Samples]], count: int, console: Console) -> None:
    """The `count` answers of each identifier with the most errors. Colours where the console has them, else
    marks: [gold], *predicted*."""
    view = spans_view(cells)
    coloured = console.is_terminal and console.color_system is not None
    key = (
        "shaded by score, gold underlined, predicted bold, errors red"
        if coloured
        else "[gold] *predicted*: [*right*], *wrong*, [missed]"
    )
    for place, column in enumerate(view.columns):
        answered = [
            (example, answer) for example in view.examples if (answer := example.answers[place]) is not None
        ]
        answered.sort(key=lambda pair: -pair[1].errors)
        thresholds = "/".join(f"{value:g}" for value in column.thresholds)
        console.print(f"\n{column.title}, threshold {thresholds or 'none'}: {key}", style="bold")
        for example, answer in answered[:count]:
            console.print(f"\n{example.id}: {len(answer.wrong)} wrong, {len(answer.missed)} missed")
            for line, sentence in enumerate(example.persona, start=1):
                console.print(f"  {line} {sentence}", style="dim")
            console.print(f"  Q {example.question}")
            console.print(styled(answer) if coloured else f"  A {marked(answer)}")
            for what, errors in (("wrong", answer.wrong), ("missed", answer.missed)):
                if errors:
                    listed = ", ".join(f"{text} {number(score, 2)}" for text, score in errors)
                    console.print(f"    {what}: {listed}")


def styled(answer: Answer) -> Text:
    from rich.text import Text

    text = Text("  A ")
    for piece in answer.pieces:
        style = ["white" if piece.level else "", SHADES[min(piece.level, LEVELS)]]
        style += ["underline"] * piece.gold + ["bold"] * (piece.state in ("hit", "wrong"))
        if piece.state in ("wrong", "missed"):
            style.append("bright_red" if not piece.level else "on #a3200d")
        text.append(printable(piece.text), " ".join(filter(None, style)) or None)
        if piece.source is not None:
            text.append(f"({piece.source})", "dim")
    return text


def marked(answer: Answer) -> str:
    """The answer with characters for marks, which survive a pipe."""
    shown, inside = "", False
    for piece in answer.pieces:
        if piece.gold != inside:
            shown, inside = shown + ("[" if piece.gold else "]"), piece.gold
        shown += _starred(piece)
    return shown + ("]" if inside else "")


def _starred(piece: Piece) -> str:
    if piece.state not in ("hit", "wrong"):
        return piece.text
    return f"*{piece.text}*" + (f"({piece.source})" if piece.source is not None else "")
