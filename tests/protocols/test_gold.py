"""Gold spans and the counts against them, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.api import Example
from perbench.protocols.identification.gold import distractor_spans, gold_spans
from perbench.text.marks import Gold
from perbench.text.words import occurrences, word_spans


def example(reference: str, gold: Any) -> Example:
    return Example("ex-7", "u", "q", reference, extra={"gold": gold})


@pytest.mark.parametrize(
    ("reference", "gold", "spans"),
    [
        ("Got a deer last season.", ["deer"], [(6, 10)]),
        ("Deer! A deer, reindeer.", ["deer"], [(0, 4), (8, 12)]),
        ("I like the ones that cover\n my ears.", ["cover my ears"], [(21, 35)]),
        ("one two", [{"start": 4, "end": 7}, {"start": 0, "end": 3, "text": "one"}], [(0, 3), (4, 7)]),
        ("one", ["one", {"start": 0, "end": 3}, "ONE"], [(0, 3)]),
        ("C++ (really)", ["c++", "(really)"], [(0, 3), (4, 12)]),
        ("nothing", [], []),
    ],
)
def test_gold_spans(reference: str, gold: Any, spans: list[tuple[int, int]]) -> None:
    assert [(span.start, span.end) for span in gold_spans(example(reference, gold))] == spans


def test_kinds_and_sentences_come_along_and_a_place_counts_once() -> None:
    entry = {"start": 2, "end": 6, "text": "deer", "kind": "inference", "sentence": 3}
    assert gold_spans(example("A deer.", [entry, "deer"])) == [Gold(2, 6, "inference", 3)]


@pytest.mark.parametrize(
    ("word", "places"),
    [
        ("ear", [(14, 17)]),  # not in "ears"; the one in the gold span is left out
        ("stag", []),
        (None, []),
    ],
)
def test_distractors_stand_outside_the_gold(word: str | None, places: list[tuple[int, int]]) -> None:
    row = Example("e", "u", "q", "An ear, ears, Ear", extra={"distractor": word})
    assert distractor_spans(row, [Gold(3, 6)]) == places


def test_data_without_distractors() -> None:
    assert distractor_spans(example("An ear", []), []) == []


@given(st.text(max_size=40))
def test_a_word_is_found_where_it_stands(text: str) -> None:
    for start, end in word_spans(text):
        assert (start, end) in occurrences(text, text[start:end])
