"""A cell's samples for its pages: read, compared with the baseline's, ordered and divided."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from perbench.contracts.results import Entry
from perbench.contracts.shown import Reads, Score, Shades, Shown, StoredCell, worst_first
from perbench.site.format import number
from perbench.store import CellRecord
from perbench.store.record import Better
from perbench.text.pieces import Piece

WHOLE = 200
"""Most samples on one page; of more, the first page has `EDGE` of either end and further pages the rest."""
EDGE = 50
PIR = (0.5, 1.0, 2.0)
"""Nats per token from which a token is shaded lightly, more and most."""
LONG, KEPT = 900, 600
"""Longer texts are folded after so many characters."""
Drawn = tuple[str, str, str]
"""A piece of a text: its characters, classes and title."""
FULL = 0.99
"""Quantile of an identifier's scores at which the shade is full."""


@dataclass(frozen=True)
class Card:
    """A sample, its headline score, and how much that exceeds the baseline's answer to the same example.
    `file` is the page that holds it."""

    shown: Shown
    score: Score
    diff: Score
    file: str = ""

    @property
    def key(self) -> str:
        """Names the example in links, in all cells alike."""
        return sha256(self.shown.id.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class CellSamples:
    """`pages` in order, the first on the cell's own; without any, `why` is the reason. `notes` hold for all
    samples; `shaded` of the first samples have shades; `full` is the score of a full shade."""

    pages: tuple[tuple[Card, ...], ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()
    system: str = ""
    """The system message of all prompts, if they share one; it is left out of theirs."""
    shaded: int = 0
    full: float = 0.0

    @property
    def cards(self) -> list[Card]:
        return [card for page in self.pages for card in page]


@dataclass(frozen=True)
class SampleTexts:
    """How samples are read. `shades` gives those of `shade` samples per cell the PIR of their tokens."""

    reads: Reads
    shade: int = 0
    shades: Shades | None = None

    def of(self, entry: Entry, base: Entry | None, matrices: Mapping[str, Any]) -> CellSamples:
        """
        Raises:
            DamagedRecord: a file differs from what was written.
        """
        cell, record = stored(entry, matrices), entry.record
        if entry.withheld:
            return CellSamples(why=f"Only their digests are among the results: {entry.withheld}.")
        if cell is None:
            return CellSamples(why="They are not among the results from which this page was built.")
        with entry.reading():
            shown = checked(self.reads.read(cell), entry)
        if not shown:
            return CellSamples(why="None was written.")
        if record.status == "failed":
            return CellSamples(why=f"{len(shown)} were written before the error; they are kept, not scored.")
        headline = record.headline or ""
        cards = _cards(shown, headline, self._of_base(base, matrices, headline))
        ordered = in_order(cards, record.better_of(headline))
        chosen, count = ordered[0], 0
        if self.shades is not None and record.kind == "eval":
            places = _ends(len(chosen), min(self.shade, len(chosen)))
            with entry.reading():
                done = self.shades(cell, [chosen[place].shown for place in places])
            for place, one in zip(places, done, strict=True):
                chosen[place] = replace(chosen[place], shown=one)
            count = sum(bool(one.pieces or one.reference_pieces) for one in done)
        notes = set.intersection(*(set(card.shown.notes) for card in cards))
        first = {card.shown.prompt[:1] for card in cards}
        system = first.pop() if len(first) == 1 else ()
        system = system if len(cards) > 1 and system and system[0][0] == "system" else ()
        files = [name_of(record, number) for number in range(1, len(ordered) + 1)]
        return CellSamples(
            pages=tuple(
                tuple(
                    replace(card, shown=_without(card.shown, notes, len(system)), file=file) for card in page
                )
                for page, file in zip(ordered, files, strict=True)
            ),
            notes=tuple(sorted(notes)),
            system=system[0][1] if system else "",
            shaded=count,
            full=_full(shown),
        )

    def _of_base(self, base: Entry | None, matrices: Mapping[str, Any], headline: str) -> dict[str, Score]:
        cell = stored(base, matrices) if base is not None else None
        if cell is None or base is None:
            return {}
        with base.reading():
            return {name: found.get(headline) for name, found in self.reads.scores(cell).items()}


def checked(found: Sequence[Shown], entry: Entry) -> Sequence[Shown]:
    """
    Raises:
        ValueError: the samples are a published file's, and parts of them have other types than pages need.
    """
    if entry.file is not None:
        from pydantic import TypeAdapter

        TypeAdapter(list[Shown]).validate_python([asdict(one) for one in found])
    return found


def stored(entry: Entry, matrices: Mapping[str, Any]) -> StoredCell | None:
    if entry.samples is None:
        return None
    return StoredCell(entry.record, entry.samples, entry.scores, matrices)


def name_of(record: CellRecord, number: int) -> str:
    """The file of a cell's page."""
    return f"{record.identity[:16]}{f'-{number}' if number > 1 else ''}.html"


def _cards(shown: Sequence[Shown], headline: str, base: Mapping[str, Score]) -> list[Card]:
    cards = []
    for one in shown:
        score, other = one.scores.get(headline), base.get(one.id)
        cards.append(Card(one, score, score - other if score is not None and other is not None else None))
    return cards


def in_order(cards: Sequence[Card], better: Better | None) -> list[list[Card]]:
    """The pages: the worst first, samples without a score last; the first page of many holds both ends."""
    by_id = {card.shown.id: card for card in cards}
    first = worst_first({name: card.score for name, card in by_id.items()}, better or "higher")
    ordered = [by_id[name] for name in first] + [card for card in cards if card.score is None]
    if len(ordered) <= WHOLE:
        return [ordered]
    end = len(first) if len(first) > 2 * EDGE else len(ordered)
    head = ordered[:EDGE] + ordered[end - EDGE : end]
    rest = ordered[EDGE : end - EDGE] + ordered[end:]
    return [head, *(rest[start : start + WHOLE] for start in range(0, len(rest), WHOLE))]


def _ends(size: int, count: int) -> list[int]:
    """`count` places among `size`: first and last ones in turn, in order."""
    places = [place // 2 if place % 2 == 0 else size - 1 - place // 2 for place in range(count)]
    return sorted(places)


def _without(shown: Shown, notes: set[str], messages: int) -> Shown:
    if not notes and not messages:
        return shown
    kept = tuple(note for note in shown.notes if note not in notes)
    return replace(shown, notes=kept, prompt=shown.prompt[messages:])


def bare(item: str) -> str:
    """A history item without the list mark that the task's form puts before it."""
    return re.sub(r"^\s*[-*•]\s+", "", item)


def _full(shown: Sequence[Shown]) -> float:
    """The score of an identifier's tokens from which their shade is full."""
    scores = sorted(piece.value for one in shown for piece in one.pieces if piece.value is not None)
    if not scores:
        return 0.0
    full = scores[int(FULL * (len(scores) - 1))]
    return full if full > 0 else scores[-1]


def marked(pieces: Sequence[Piece], full: float) -> list[Drawn]:
    """With `full` the shade is an identifier's score, else the PIR."""
    found = []
    for piece in pieces:
        level = pir_level(piece.value * PIR[-1] / full if full and piece.value is not None else piece.value)
        classes = [f"p{level}" if level else "", "goldt" if piece.gold else "", piece.state]
        title = piece.title or ("" if piece.value is None else f"PIR {number(piece.value, 1)}")
        found.append((piece.text, " ".join(filter(None, classes)), title))
    return found


def folded(text: str, drawn: Sequence[Drawn]) -> tuple[list[Drawn], list[Drawn]]:
    """A text as drawn pieces (default: one), cut in two if it is long: the second part is to be folded."""
    whole = list(drawn) or [(text, "", "")]
    if len(text) <= LONG:
        return whole, []
    cut = text.rfind(" ", LONG // 2, KEPT)
    cut = KEPT if cut < 0 else cut
    at, head, rest = 0, list[Drawn](), list[Drawn]()
    for part, classes, title in whole:
        inside = max(0, min(len(part), cut - at))
        head += [(part[:inside], classes, title)] * bool(inside)
        rest += [(part[inside:], classes, title)] * (inside < len(part))
        at += len(part)
    return head, rest


def pir_level(value: float | None) -> int:
    """0 to 3."""
    return 0 if value is None else sum(value >= bound for bound in PIR)
