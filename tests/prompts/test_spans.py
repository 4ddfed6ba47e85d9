"""Tokens and the characters they show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.errors import PerbenchError
from perbench.prompts.chat import encode_response
from perbench.prompts.spans import encode_with_spans


@pytest.fixture(scope="session")
def tokenizer(tiny_model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model_dir)


def test_by_hand(tokenizer: Any) -> None:
    text = "deer  in autumn\n"
    ids, spans = encode_with_spans(tokenizer, text)
    assert ids == encode_response(tokenizer, text)
    assert "".join(text[s:e] for s, e in spans) == "deerinautumn"
    assert spans[-1] == (15, 15)


def test_tokens_within_one_character_all_show_it(tokenizer: Any) -> None:
    ids, spans = encode_with_spans(tokenizer, "a\U0001f98cb")  # four bytes, none of them merged in training
    assert len(ids) == 6
    assert spans == [(0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3)]


@given(text=st.text())
def test_every_visible_character_is_shown(tokenizer: Any, text: str) -> None:
    ids, spans = encode_with_spans(tokenizer, text)
    assert ids == encode_response(tokenizer, text)
    assert len(ids) == len(spans)
    assert all(0 <= s <= e <= len(text) for s, e in spans)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(spans))
    shown = {i for s, e in spans for i in range(s, e)}
    assert {i for i, char in enumerate(text) if not char.isspace()} <= shown
    assert not any(text[i].isspace() for s, e in spans if s < e for i in (s, e - 1))


def test_a_tokenizer_without_offsets_is_refused(tokenizer: Any) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(PerbenchError, match="Slow gives no character offsets"):
        encode_with_spans(Slow(), "text")
