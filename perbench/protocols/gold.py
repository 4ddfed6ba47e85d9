"""Gold spans of an identification task, and how predictions are counted against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.words import Span, occurrences, visible, word_spans


@dataclass(frozen=True)
class Counts:
    """Of one response: `tp` predicted tokens that lie in a gold span, `fp` those that do not, `fn` tokens
    that touch a gold span and are not among `tp`; `words` gold words, `found` those a `tp` token touches."""

    tp: int
    fp: int
    fn: int
    words: int
    found: int


def gold_spans(example: Example) -> list[Span]:
    """`example.extra["gold"]` as [start, end) spans of the reference, sorted, each once.

    An entry is {"start", "end"} with an optional "text" to check, or a string, which stands for each of its
    whole-word occurrences, ignoring case.

    Raises:
        PerbenchError: no list, offsets outside the reference or not on their text, a string not in it.
    """
    entries = example.extra.get("gold")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise PerbenchError(
            f"example {example.id!r}: gold must be a list of spans or strings, not {entries!r}"
        )
    return sorted({span for entry in entries for span in _spans(example, entry)})


def _spans(example: Example, entry: Any) -> list[Span]:
    text = example.reference
    if isinstance(entry, str):
        found = occurrences(text, entry)
        if not found:
            raise PerbenchError(
                f"example {example.id!r}: gold {entry!r} does not stand in {text!r} as whole words; "
                'give its place as {"start": S, "end": E}'
            )
        return found
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
    return [visible(text, start, end)]


def count(
    response: str, gold: Sequence[Sequence[int]], spans: Sequence[Sequence[int]], predicted: Sequence[bool]
) -> Counts:
    """Counts of one response; `spans` [start, end) of its tokens, `predicted` whether each is. Tokens that
    show nothing but white space do not count at all."""

    def touches(a: Sequence[int], b: Sequence[int]) -> bool:
        return a[0] < b[1] and b[0] < a[1]

    shown = [(visible(response, *span), flag) for span, flag in zip(spans, predicted, strict=True)]
    tokens = [(span, flag) for span, flag in shown if span[0] < span[1]]
    hits = [s for s, flag in tokens if flag and any(g[0] <= s[0] and s[1] <= g[1] for g in gold)]
    golden = sum(any(touches(span, g) for g in gold) for span, _ in tokens)
    pieces = {(max(w[0], g[0]), min(w[1], g[1])) for w in word_spans(response) for g in gold if touches(w, g)}
    return Counts(
        tp=len(hits),
        fp=sum(flag for _, flag in tokens) - len(hits),
        fn=golden - len(hits),
        words=len(pieces),
        found=sum(any(touches(piece, hit) for hit in hits) for piece in pieces),
    )
