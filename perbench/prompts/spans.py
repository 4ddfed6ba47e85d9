"""Which characters of a text its tokens show."""

from __future__ import annotations

from typing import Any

from perbench.errors import PerbenchError
from perbench.words import Span, visible


def encode_with_spans(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """Token ids of `text`, as `prompts.chat.encode_response` gives them, and the [start, end) characters that
    each shows, without white space at the edges (start == end where a token is nothing else). Tokens that
    hold parts of one character's bytes all span that character.

    Raises:
        PerbenchError: the tokenizer cannot tell.
    """
    if not tokenizer.is_fast:
        raise PerbenchError(
            f"{type(tokenizer).__name__} gives no character offsets; identifying tokens needs a model with a "
            "tokenizer.json"
        )
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    return encoded["input_ids"], [visible(text, start, end) for start, end in encoded["offset_mapping"]]
