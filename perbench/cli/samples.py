"""perbench samples: show prompts, answers and scores of one cell."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from perbench.progress import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from perbench.contracts.shown import Exchange, Shown

SUMMARY = "show persona, prompt, answer, reference and scores of a cell's samples"

FEW = 5
"""Samples shown without --worst."""
ITEMS = 12
"""Maximum persona items printed."""


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument("cell", type=Path, metavar="CELL", help="a cell's folder, or a run directory")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="with a run directory: the start of the cell's identity, or words of its description",
    )
    parser.add_argument(
        "--worst",
        type=options.positive,
        metavar="N",
        help=f"show the N worst by the headline metric (default: the first {FEW} samples)",
    )
    options.add_data(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list of the samples")


def run(args: argparse.Namespace) -> int:
    from perbench.console.printing import console
    from perbench.matrix import options
    from perbench.matrix.cells import describe
    from perbench.matrix.samples import find_cell, shown_samples

    record, folder = find_cell(args.cell, args.words)
    found, whole = shown_samples(record, folder, worst=args.worst, most=FEW, data=options.data_folders(args))
    if args.json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1))
        return 0
    out = console()
    first = "highest" if record.better_of(record.headline or "") == "lower" else "lowest"
    how = f", {first} {record.headline} first" if args.worst else ""
    out.print(f"{describe(record.kind, record.labels)}\n{folder}\n{len(found)} of {whole} samples{how}")
    for note in record.notes:
        out.print(f"note: {note}")
    for one in found:
        _print(one, out)
    return 0


def _print(one: Shown, out: Console) -> None:
    from rich.rule import Rule
    from rich.table import Table

    out.print(Rule(" · ".join(filter(None, (one.id, one.user and f"user {one.user}"))), align="left"))
    grid = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    items = one.persona or ()
    for place, item in enumerate(items[:ITEMS], start=1):
        grid.add_row("" if place > 1 else "persona", f"{place} {item}")
    if len(items) > ITEMS:
        grid.add_row("", f"… {len(items) - ITEMS} more; --json has them all")
    if one.persona == ():
        grid.add_row("persona", "none")
    if one.trimmed:
        grid.add_row("", f"{counted(one.trimmed, 'more item')} of the history did not fit")
    for place, (role, content) in enumerate(one.prompt):
        grid.add_row("" if place else "prompt", f"[{role}] {content}")
    for number, turn in enumerate(one.turns, start=1):
        for row in _turn(number, turn):
            grid.add_row(*row)
    if one.missing is not None:
        grid.add_row("answer", _missing(one.missing))
    if one.answer or (one.missing is None and not one.turns):
        grid.add_row("" if one.missing else "answer", one.answer or "(empty)")
    if one.reference is not None:
        grid.add_row("reference", one.reference)
    for name, text in one.details:
        grid.add_row(name, text)
    grid.add_row("scores", _scores(one.scores) or "none")
    for note in one.notes:
        grid.add_row("note", note)
    out.print(grid)


def _turn(number: int, turn: Exchange) -> Iterator[tuple[str, str]]:
    yield f"turn {number}", f"[user] {turn.message}"
    if turn.missing is None:
        yield "", f"[assistant] {turn.reply or '(empty)'}"
    for text in (turn.missing and _missing(turn.missing), _scores(turn.scores), *turn.notes):
        if text:
            yield "", f"({text})"


def _missing(why: str) -> str:
    return f"missing, {why.replace('_', ' ')}"


def _scores(scores: Mapping[str, float | None]) -> str:
    from perbench.site.format import digits_for, number

    return ", ".join(
        f"{name} {'no score' if value is None else number(value, digits_for([value]))}"
        for name, value in scores.items()
    )
