"""Gold spans and the counts against them, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.protocols.gold import Counts, count, gold_spans
from perbench.words import occurrences, word_spans


def example(reference: str, gold: Any) -> Example:
    return Example("ex-7", "u", "q", reference, extra={"gold": gold})


@pytest.mark.parametrize(
    ("reference", "gold", "spans"),
    [
        ("Got a deer last season.", ["deer"], [(6, 10)]),
        ("Deer! A deer, reindeer.", ["deer"], [(0, 4), (8, 12)]),
        ("I like the ones that cover\n my ears.", ["cover my ears"], [(21, 35)]),
        ("one two", [{"start": 4, "end": 7}, {"start": 0, "end": 3, "text": "one"}], [(0, 3), (4, 7)]),
        ("one two", [{"start": 3, "end": 7, "text": " two"}], [(4, 7)]),
        ("one", ["one", {"start": 0, "end": 3}, "ONE"], [(0, 3)]),
        ("C++ (really)", ["c++", "(really)"], [(0, 3), (4, 12)]),
        ("nothing", [], []),
    ],
)
def test_gold_spans(reference: str, gold: Any, spans: list[tuple[int, int]]) -> None:
    assert gold_spans(example(reference, gold)) == spans


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (None, "must be a list"),
        ("deer", "must be a list"),
        (["stag"], "'stag' does not stand in 'A deer.' as whole words"),
        (["dee"], "as whole words"),
        (["  "], "as whole words"),
        ([{"start": 2, "end": 99}], "0 <= start < end <= 7"),
        ([{"start": 2, "end": 2}], "0 <= start < end <= 7"),
        ([{"start": -2, "end": 2}], "0 <= start < end <= 7"),
        ([{"start": 1, "end": 2}], "shows something"),
        ([{"start": True, "end": 2}], "neither a string nor"),
        ([{"start": 2}], "neither a string nor"),
        ([7], "neither a string nor"),
        ([[2, 6]], "neither a string nor"),
        ([{"start": 2, "end": 6, "text": "stag"}], "stands on 'deer', not on its text"),
    ],
)
def test_bad_gold_names_the_example(gold: Any, message: str) -> None:
    with pytest.raises(PerbenchError) as caught:
        gold_spans(example("A deer.", gold))
    assert "'ex-7'" in str(caught.value)
    assert message in str(caught.value)


RESPONSE = "I like big ears, truly"
WORDS = [(0, 1), (2, 6), (7, 10), (11, 15), (17, 22)]
PIECES = [(0, 1), (1, 4), (4, 6), (6, 10), (10, 13), (13, 15), (15, 16), (16, 16), (16, 22)]
BIG_EARS = [(7, 15)]


@pytest.mark.parametrize(
    ("spans", "chosen", "gold", "expected"),
    [
        (WORDS, {2, 3}, BIG_EARS, Counts(tp=2, fp=0, fn=0, words=2, found=2)),
        (WORDS, {1, 2}, BIG_EARS, Counts(tp=1, fp=1, fn=1, words=2, found=1)),
        (WORDS, set(), BIG_EARS, Counts(tp=0, fp=0, fn=2, words=2, found=0)),
        (WORDS, {0}, [], Counts(tp=0, fp=1, fn=0, words=0, found=0)),
        # Sub-word tokens with their leading spaces: " big", " ea", "rs", of which " ea" finds its word.
        (PIECES, {3, 4}, BIG_EARS, Counts(tp=2, fp=0, fn=1, words=2, found=2)),
        # A token that shows nothing is never counted, predicted or not.
        (PIECES, {7}, BIG_EARS, Counts(tp=0, fp=0, fn=3, words=2, found=0)),
        # Part of a word is gold: the whole word is too much, and what was to be found is not found.
        (WORDS, {3}, [(11, 14)], Counts(tp=0, fp=1, fn=1, words=1, found=0)),
        # Two adjacent gold spans do not hold a token that runs over both.
        ([(7, 15)], {0}, [(7, 10), (11, 15)], Counts(tp=0, fp=1, fn=1, words=2, found=0)),
    ],
)
def test_counts_by_hand(
    spans: list[tuple[int, int]], chosen: set[int], gold: list[tuple[int, int]], expected: Counts
) -> None:
    assert count(RESPONSE, gold, spans, [i in chosen for i in range(len(spans))]) == expected


@given(st.text(alphabet="ab .\n\u00e9\U0001f98c", max_size=30), st.data())
def test_counts_agree_with_sets_of_tokens(response: str, data: st.DataObject) -> None:
    spans = word_spans(response)
    gold = data.draw(st.lists(st.sampled_from(spans), unique=True)) if spans else []
    flags = data.draw(st.lists(st.booleans(), min_size=len(spans), max_size=len(spans)))
    predicted = {span for span, flag in zip(spans, flags, strict=True) if flag}
    found = count(response, gold, spans, flags)
    assert (found.tp, found.fp, found.fn) == (
        len(predicted & {*gold}),
        len(predicted - {*gold}),
        len({*gold} - predicted),
    )
    assert (found.words, found.found) == (len(gold), found.tp)


@given(st.text(max_size=40))
def test_a_word_is_found_where_it_stands(text: str) -> None:
    for start, end in word_spans(text):
        assert (start, end) in occurrences(text, text[start:end])
