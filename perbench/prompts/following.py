"""Encodes and decodes a text as the continuation of another: tokenizers may merge across the boundary, or
treat the beginning of a text differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from perbench.lm.prefix import common_length
from perbench.text.words import Span


class Pieces(NamedTuple):
    """Token ids of a text and, if requested, the characters that each spans."""

    ids: list[int]
    spans: list[Span]

    def shifted(self, by: int) -> Pieces:
        return Pieces(self.ids, [(start + by, end + by) for start, end in self.spans])


def pieces(tokenizer: Any, text: str, *, spans: bool = False, as_text: bool = False) -> Pieces:
    """`as_text`: text spelled like a special token stays text."""
    found = tokenizer(
        text,
        add_special_tokens=False,
        **({"split_special_tokens": True} if as_text else {}),
        **({"return_offsets_mapping": True} if spans else {}),
    )
    return Pieces(found["input_ids"], found["offset_mapping"] if spans else [])


BEFORE = "a"
"""Decoded before the ids: none of its tokens is special or a byte that the next could complete."""


def spelled(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of tokens that follow others."""
    before = pieces(tokenizer, BEFORE).ids
    shown, whole = (
        tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for part in (before, [*before, *ids])
    )
    text: str = whole[len(shown) :]
    return text


def following(
    tokenizer: Any,
    before: str,
    text: str,
    *,
    base: Pieces | None = None,
    spans: bool = False,
    as_text: bool = False,
) -> Pieces:
    """The tokens of `text` after `before`; spans count from the start of `text`.

    A token across the boundary is split: `before` keeps its own tokens, and the rest of that token is
    tokenised by the vocabulary. `base`: the pieces of `before`, if known.
    """
    kept = (base or pieces(tokenizer, before, as_text=as_text)).ids
    whole = pieces(tokenizer, before + text, spans=spans, as_text=as_text)
    start = common_length(kept, whole.ids)
    ids: list[int] = []
    spanning: Span = (0, 0)
    if start < len(kept):
        found = _divided(tokenizer, kept, whole.ids, start)
        if found is None:
            return pieces(tokenizer, text, spans=spans, as_text=as_text)
        ids, stop = found
        if spans:
            spanning = whole.spans[start][0], whole.spans[stop - 1][1]
        start = stop
    places = [spanning] * len(ids) + list(whole.spans[start:])
    shift = len(before)
    return Pieces(
        [*ids, *whole.ids[start:]],
        [(max(first - shift, 0), max(last - shift, 0)) for first, last in places] if spans else [],
    )


def _divided(
    tokenizer: Any, kept: Sequence[int], whole: Sequence[int], start: int
) -> tuple[list[int], int] | None:
    """(tokens of the text beyond `kept`, start of the tokens after them), for tokens across the boundary;
    None if the two tokenisations do not meet again."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    wanted = "".join(tokenizer.convert_ids_to_tokens(kept[start:]))
    spelled, stop = "", start
    while len(spelled) < len(wanted) and stop < len(whole):
        spelled += tokenizer.convert_ids_to_tokens(whole[stop])
        stop += 1
    if not spelled.startswith(wanted):
        return None
    rest = spelled[len(wanted) :]
    return ([token.id for token in tokenizer.backend_tokenizer.model.tokenize(rest)] if rest else []), stop
