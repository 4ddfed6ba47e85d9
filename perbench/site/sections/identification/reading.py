"""Draws answers with scores, gold and errors, on a page and in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perbench.console.printing import printable
from perbench.contracts.section import Reading, Samples
from perbench.site.format import natural, number
from perbench.site.templates import render_page
from perbench.store import CellRecord

from .spans import LEVELS, MarkedAnswer, Shaded, spans_view

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SHADES = ("", "on #1b3a55", "on #1c486d", "on #1d5786", "on #1e669f", "on #2073b5")
"""Backgrounds of white text, with contrast of at least 5."""


class SpansReading(Reading):
    def __init__(self, cells: Sequence[tuple[CellRecord, Samples]]) -> None:
        self.view = spans_view(cells)

    def page(self) -> str:
        """JavaScript is needed only for sorting; the output is deterministic."""
        return render_page(
            "spans.html",
            css=["app.css", "spans.css"],
            script="spans.js",
            filters={"number": number, "errors": _errors, "score": repr},
            folders=[Path(__file__).parent],
            view=self.view,
            models=sorted({column.model for column in self.view.columns}, key=natural),
            targets=sorted({column.target for column in self.view.columns}, key=natural),
        )

    def show(self, count: int, console: Console) -> None:
        """The answers with the most errors, by identifier, in colour if the console supports it, else with
        marks: [gold], *predicted*."""
        coloured = console.is_terminal and console.color_system is not None
        key = (
            "shaded by score, gold underlined, predicted bold, errors red"
            if coloured
            else "[gold] *predicted*: [*right*], *wrong*, [missed]"
        )
        for place, column in enumerate(self.view.columns):
            answered = [
                (example, answer)
                for example in self.view.examples
                if (answer := example.answers[place]) is not None
            ]
            answered.sort(key=lambda pair: -pair[1].errors)
            console.print(f"\n{column.title}, threshold {column.threshold}: {key}", style="bold")
            for example, answer in answered[:count]:
                console.print(f"\n{example.id}: {len(answer.wrong)} wrong, {len(answer.missed)} missed")
                for line, sentence in enumerate(example.persona, start=1):
                    console.print(f"  {line} {sentence}", style="dim")
                console.print(f"  Q {example.question}")
                console.print(styled(answer) if coloured else f"  A {marked(answer)}")
                for what, errors in _errors(answer):
                    console.print(f"    {what}: {', '.join(f'{text} {score}' for text, score in errors)}")


def _errors(answer: MarkedAnswer) -> list[tuple[str, list[tuple[str, str]]]]:
    """The errors as text, so that nothing depends on colour alone."""
    named = (("wrong", answer.wrong), ("missed", answer.missed))
    return [(what, [(text, number(score, 2)) for text, score in errors]) for what, errors in named if errors]


def styled(answer: MarkedAnswer) -> Text:
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


def marked(answer: MarkedAnswer) -> str:
    """The answer with marks as characters, for output without colour."""
    shown, inside = "", False
    for piece in answer.pieces:
        if piece.gold != inside:
            shown, inside = shown + ("[" if piece.gold else "]"), piece.gold
        shown += _starred(piece)
    return shown + ("]" if inside else "")


def _starred(piece: Shaded) -> str:
    if piece.state not in ("hit", "wrong"):
        return piece.text
    return f"*{piece.text}*" + (f"({piece.source})" if piece.source is not None else "")
