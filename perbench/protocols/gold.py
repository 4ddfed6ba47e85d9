"""Gold spans of an identification task, read from its examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.words import Span, occurrences, visible


class Gold(NamedTuple):
    """A personal span: [start, end) characters of the response; its kind and the index of the persona's
    sentence that supports it, where the data say."""

    start: int
    end: int
    kind: str | None = None
    sentence: int | None = None


def gold_spans(example: Example) -> list[Gold]:
    """`example.extra["gold"]` by place, each once.

    An entry is {"start", "end"} with an optional "text" to check, "kind" and "sentence"; or a string, which
    stands for each of its whole-word occurrences, ignoring case.

    Raises:
        PerbenchError: no list, offsets outside the reference or not on their text, a string not in it.
    """
    entries = example.extra.get("gold")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise PerbenchError(
            f"example {example.id!r}: gold must be a list of spans or strings, not {entries!r}"
        )
    found: dict[Span, Gold] = {}
    for entry in entries:
        for gold in _spans(example, entry):
            found.setdefault((gold.start, gold.end), gold)
    return [found[place] for place in sorted(found)]


def distractor_spans(example: Example, gold: Sequence[Gold]) -> list[Span]:
    """Where the example's distractor (`example.extra["distractor"]`, a word or None) stands outside the gold
    spans; empty where the data name none."""
    word = example.extra.get("distractor")
    if not isinstance(word, str):
        return []
    return [
        (start, end)
        for start, end in occurrences(example.reference, word)
        if all(end <= span.start or span.end <= start for span in gold)
    ]


def _spans(example: Example, entry: Any) -> list[Gold]:
    text = example.reference
    if isinstance(entry, str):
        found = occurrences(text, entry)
        if not found:
            raise PerbenchError(
                f"example {example.id!r}: gold {entry!r} does not stand in {text!r} as whole words; "
                'give its place as {"start": S, "end": E}'
            )
        return [Gold(start, end) for start, end in found]
    try:
        start, end = entry["start"], entry["end"]
        valid = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
        valid = valid and bool(text[start:end].strip())
    except (TypeError, KeyError):
        valid = False
    if not valid:
        raise PerbenchError(
            f"example {example.id!r}: gold {entry!r} is neither a string nor a {{start, end}} with "
            f"0 <= start < end <= {len(text)} that shows something of {text!r}"
        )
    if entry.get("text", text[start:end]) != text[start:end]:
        raise PerbenchError(
            f"example {example.id!r}: gold {entry!r} stands on {text[start:end]!r}, not on its text"
        )
    return [Gold(*visible(text, start, end), entry.get("kind"), entry.get("sentence"))]
