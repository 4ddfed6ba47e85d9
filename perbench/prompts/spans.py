"""The characters of a response that each of its tokens covers."""

from __future__ import annotations

from typing import Any

from perbench.errors import PerbenchError
from perbench.prompts import chat
from perbench.text.words import Span, visible


def encode_with_spans(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """Token ids of a response, as `prompts.chat.encode_answer` up to the end of turn, and the [start, end)
    characters of `text` of each, without white space at the edges (start == end for white space only). Tokens
    that hold parts of one character's bytes all span that character.

    Raises:
        PerbenchError: the tokenizer has no offsets.
    """
    if not tokenizer.is_fast:
        raise PerbenchError(
            f"{type(tokenizer).__name__} gives no character offsets; identifying tokens needs a model with a "
            "tokenizer.json"
        )
    ids, spans = chat.encode_with_spans(tokenizer, text)
    return ids, [visible(text, start, end) for start, end in spans]
