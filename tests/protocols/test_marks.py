"""Tallies of one response at every level and under both rules, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.text.marks import LEVELS, RULES, Share, Tally, read
from perbench.text.words import whole_words, word_spans

RESPONSE = "I like big ears, truly"
WORDS = [(0, 1), (2, 6), (7, 10), (11, 15), (17, 22)]
# Sub-word tokens: "I", " li", "ke", " big", " ea", "rs", ",", one that shows nothing, " truly".
PIECES = [(0, 1), (1, 4), (4, 6), (6, 10), (10, 13), (13, 15), (15, 16), (16, 16), (16, 22)]
BIG_EARS = [(7, 15)]


def sample(
    spans: list[tuple[int, int]], chosen: set[int], gold: list[tuple[int, int]], **more: Any
) -> dict[str, Any]:
    return {
        "response": RESPONSE,
        "spans": spans,
        "scores": [float(number in chosen) for number in range(len(spans))],
        "gold": gold,
        "kinds": [None] * len(gold),
        "sentences": [None] * len(gold),
        "distractors": [],
        **more,
    }


# Tallies are (correct, predicted, found, gold).
@pytest.mark.parametrize(
    ("spans", "chosen", "gold", "token", "word", "span", "strict"),
    [
        # All of the gold span.
        (WORDS, {2, 3}, BIG_EARS, (2, 2, 2, 2), (2, 2, 2, 2), (1, 1, 1, 1), [(2, 2), (2, 2), (1, 1)]),
        # Half of it, and a neighbour: the run "like big" lies in no gold span.
        (WORDS, {1, 2}, BIG_EARS, (1, 2, 1, 2), (1, 2, 1, 2), (0, 1, 0, 1), [(0, 0), (0, 0), (0, 0)]),
        # Half of it alone: the run "ears" lies in the gold span, and is not the gold span.
        (WORDS, {3}, BIG_EARS, (1, 1, 1, 2), (1, 1, 1, 2), (1, 1, 1, 1), [(0, 0), (0, 0), (0, 0)]),
        (WORDS, set(), BIG_EARS, (0, 0, 0, 2), (0, 0, 0, 2), (0, 0, 0, 1), [(0, 0), (0, 0), (0, 0)]),
        (WORDS, {0}, [], (0, 1, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), [(0, 0), (0, 0), (0, 0)]),
        # Sub-words: " big", " ea" are two of three gold tokens, and make both words.
        (PIECES, {3, 4}, BIG_EARS, (2, 2, 2, 3), (2, 2, 2, 2), (1, 1, 1, 1), [(0, 0), (2, 2), (1, 1)]),
        # A token that shows nothing is never counted, predicted or not; punctuation belongs to no word.
        (PIECES, {7}, BIG_EARS, (0, 0, 0, 3), (0, 0, 0, 2), (0, 0, 0, 1), [(0, 0), (0, 0), (0, 0)]),
        (PIECES, {6}, BIG_EARS, (0, 1, 0, 3), (0, 0, 0, 2), (0, 0, 0, 1), [(0, 0), (0, 0), (0, 0)]),
        # A part of a word is gold: the token is too much, the word is gold all the same.
        (WORDS, {3}, [(11, 14)], (0, 1, 0, 1), (1, 1, 1, 1), (1, 1, 1, 1), [(0, 0), (1, 1), (1, 1)]),
        # Side by side, two gold spans hold no token that runs over both, and are one run of words.
        ([(7, 15)], {0}, [(7, 10), (11, 15)], (0, 1, 0, 1), (2, 2, 2, 2), (1,) * 4, [(0, 0), (2, 2), (1, 1)]),
        # Two predicted runs in one gold span: both correct, one found.
        (WORDS, {0, 2}, [(0, 10)], (2, 2, 2, 3), (2, 2, 2, 3), (2, 2, 1, 1), [(0, 0), (0, 0), (0, 0)]),
        # One of two gold spans as a whole.
        (WORDS, {0, 2}, [(0, 1), (7, 15)], (2, 2, 2, 3), (2, 2, 2, 3), (2,) * 4, [(1, 1), (1, 1), (1, 1)]),
    ],
)  # fmt: skip
def test_tallies_by_hand(
    spans: list[tuple[int, int]],
    chosen: set[int],
    gold: list[tuple[int, int]],
    token: tuple[int, ...],
    word: tuple[int, ...],
    span: tuple[int, ...],
    strict: list[tuple[int, int]],
) -> None:
    tallies = read(sample(spans, chosen, gold)).tallies(0.5)
    contained = dict(zip(LEVELS, (token, word, span), strict=True))
    assert {level: tallies[level, "contained"] for level in LEVELS} == contained
    for level, (correct, found) in zip(LEVELS, strict, strict=True):
        _, predicted, _, all_gold = contained[level]
        assert tallies[level, "strict"] == Tally(correct, predicted, found, all_gold)


def test_a_words_score_is_its_largest_tokens() -> None:
    scores = [0.1, -2.0, 3.0, 0.0, 0.5, 0.4, 9.0, 9.0, -1.0]
    marks = read(sample(PIECES, set(), [], scores=scores))
    assert marks.word_scores == [0.1, 3.0, 0.0, 0.5, -1.0]
    unseen = read(sample([(0, 1)], {0}, BIG_EARS))
    assert unseen.word_scores == [1.0, *[float("-inf")] * 4]
    assert unseen.tallies(-100.0)["word", "contained"] == Tally(0, 1, 0, 2)  # gold, though no token shows it


def test_breakdowns_by_hand() -> None:
    marks = read(
        sample(
            PIECES,
            {3, 4, 8},
            [(2, 6), (7, 15)],
            kinds=["style", "lexical"],
            sentences=[0, 2],
            distractors=[(0, 1), (17, 22)],
            sources=[0, 1, 0, 2, None, 1, 2, None, 2],
        )
    )
    assert marks.kind_recall("lexical", 0.5) == Share(2, 3)
    assert marks.kind_recall("style", 0.5) == Share(0, 2)
    assert marks.kind_recall("inference", 0.5) == Share(0, 0)
    assert marks.false_distractors(0.5) == Share(1, 2)
    assert marks.false_in_none(0.5) == Share(0, 0)
    # Gold tokens: " li" says 1 for 0, "ke" 0, " big" 2, " ea" nothing, "rs" 1 for 2.
    assert marks.right_sources() == Share(2, 5)
    assert read(sample(PIECES, {0, 6}, [])).false_in_none(0.5) == Share(1, 5)
    assert read(sample(PIECES, set(), BIG_EARS)).right_sources() == Share(0, 0)


TEXTS = st.text(alphabet="ab .-\n\u00e9\U0001f98c", max_size=30)


def drawn(response: str, data: st.DataObject) -> dict[str, Any]:
    spans = word_spans(response)
    gold = data.draw(st.lists(st.sampled_from(whole_words(response)), unique=True)) if spans else []
    scores = data.draw(st.lists(st.floats(-2, 2), min_size=len(spans), max_size=len(spans)))
    return sample(spans, set(), sorted(gold), response=response, scores=scores)


@settings(deadline=None)
@given(TEXTS, st.data())
def test_the_perfect_predictor_is_right_at_every_level(response: str, data: st.DataObject) -> None:
    given_sample = drawn(response, data)
    marks = read(given_sample)
    given_sample["scores"] = [float(bool(token.touched)) for token in marks.tokens]
    for (level, rule), tally in read(given_sample).tallies(0.5).items():
        assert tally.correct == tally.predicted == tally.found == tally.gold, (level, rule)


@settings(deadline=None)
@given(TEXTS, st.data(), st.floats(-2, 2))
def test_strict_is_never_kinder_and_lower_thresholds_predict_more(
    response: str, data: st.DataObject, threshold: float
) -> None:
    marks = read(drawn(response, data))
    tallies, lower = marks.tallies(threshold), marks.tallies(threshold - 0.5)
    for level in LEVELS:
        contained, strict = (tallies[level, rule] for rule in RULES)
        assert strict.correct <= contained.correct <= contained.predicted
        assert strict.found <= contained.found <= contained.gold
        assert (strict.predicted, strict.gold) == (contained.predicted, contained.gold)
    for level in ("token", "word"):
        assert tallies[level, "contained"].correct <= lower[level, "contained"].correct
        assert tallies[level, "contained"].predicted <= lower[level, "contained"].predicted


@settings(deadline=None)
@given(TEXTS, st.data())
def test_token_tallies_agree_with_sets(response: str, data: st.DataObject) -> None:
    spans = word_spans(response)
    gold = data.draw(st.lists(st.sampled_from(spans), unique=True)) if spans else []
    chosen = data.draw(st.sets(st.sampled_from(range(len(spans))))) if spans else set()
    predicted = {spans[number] for number in chosen}
    tally = read(sample(spans, chosen, sorted(gold), response=response)).tallies(0.5)["token", "contained"]
    assert tally == (len(predicted & {*gold}), len(predicted), len(predicted & {*gold}), len(gold))
