"""Pairs of answers after one prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.lm.context import TooLong
from perbench.prompts.pair import build_answers, build_pair, build_pairs
from tests.prompts.test_pair import example, task, tokenizer

__all__ = ["tokenizer"]

LONG = "in the very deep and dark woods, far from every river and every house that there is"


def test_both_answers_follow_the_same_prompts(tokenizer: Any) -> None:
    one = replace(example(["I hunt.", "I bake."]), rejected="at home")
    pair = build_answers(task(), one, tokenizer)
    alone = build_pair(task(), one, tokenizer, with_response=True)
    assert replace(pair, rejected=()) == alone
    assert tokenizer.decode(pair.rejected) == "at home<|im_end|>"
    assert [side.response for side in pair.sides] == [pair.response, pair.rejected]
    assert {side.factual for side in pair.sides} == {pair.factual}
    assert pair.answer_tokens == len(pair.response) + len(pair.rejected)
    assert alone.sides == (alone,)


@settings(max_examples=25, deadline=None)
@given(limit=st.integers(60, 140), swapped=st.booleans())
def test_the_longer_answer_decides_how_much_history_fits(tokenizer: Any, limit: int, swapped: bool) -> None:
    answers = (LONG, "at home") if swapped else ("at home", LONG)
    one = replace(example([f"I hunt {i} deer." for i in range(8)], reference=answers[0]), rejected=answers[1])
    spec = task(max_length=limit)
    (pair,) = build_pairs(
        spec.model_copy(update={"on_too_long": "skip"}),
        [one],
        tokenizer,
        with_response=True,
        context=None,
        with_rejected=True,
    )
    try:
        longest = build_pair(spec, replace(one, reference=LONG), tokenizer, with_response=True)
    except TooLong:
        assert pair is None
        return
    assert pair is not None
    assert (pair.factual, pair.kept, pair.trimmed) == (longest.factual, longest.kept, longest.trimmed)
    assert all(len(side.factual) + len(side.response) <= limit for side in pair.sides)


def test_answers_that_are_cut_to_the_same_text_are_no_pair(tokenizer: Any) -> None:
    one = replace(example([], reference=f"{LONG} and one"), rejected=f"{LONG} and two")
    spec = task(max_length=35, on_too_long="cut")
    assert build_answers(task(max_length=200, on_too_long="cut"), one, tokenizer).cut == 0
    with pytest.raises(TooLong, match="its two answers are equal"):
        build_answers(spec, one, tokenizer)
    assert build_pairs(spec, [one], tokenizer, with_response=True, context=None, with_rejected=True) == [None]
