"""random, content_words and tfidf: scores by hand, and what holds for any text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.api import PersonaText
from perbench.plugins import load_identifier

LEXICAL = ["random", "content_words", "tfidf", "word_matching"]


def text(persona: list[str], response: str, background: tuple[tuple[str, ...], ...] = ()) -> PersonaText:
    return PersonaText("e", tuple(persona), "q", response, background=background)


def words(name: str, *texts: PersonaText) -> list[dict[str, float]]:
    found = load_identifier(name).score(texts, None)
    return [
        {one.response[s:e]: score for (s, e), score in zip(scores.spans, scores.scores, strict=True)}
        for one, scores in zip(texts, found, strict=True)
    ]


# ---------------------------------------------------------------- tfidf


def test_tfidf_by_hand() -> None:
    background = (
        ("I like hunting.", "I hunted a deer."),
        ("I like houses.",),
        ("I paint houses.",),
        ("I sleep.",),
    )
    (scores,) = words("tfidf", text(list(background[0]), "I hunt and like a deer, I paint", background))
    assert scores == {
        "I": 0.0,  # in every persona
        "hunt": pytest.approx(2 * math.log(4)),  # hunting, hunted
        "and": 0.0,
        "like": pytest.approx(math.log(2)),
        "a": pytest.approx(math.log(4)),
        "deer": pytest.approx(math.log(4)),
        "paint": 0.0,  # another persona's
    }


def test_tfidf_counts_a_persona_once_and_takes_those_of_the_call() -> None:
    hunter, painter = text(["I hunt."], "Hunt!"), text(["I paint."], "Paint!")
    alone, with_others = words("tfidf", hunter), words("tfidf", hunter, hunter, painter)
    assert alone == [{"Hunt": 0.0}]  # nothing is typical of one persona among one
    assert with_others[0] == with_others[1] == {"Hunt": pytest.approx(math.log(2))}


# ---------------------------------------------------------------- content_words


def test_content_words_by_hand() -> None:
    (scores,) = words("content_words", text([], "We have not met your quick brown dog."))
    assert [word for word, score in scores.items() if score] == ["met", "quick", "brown", "dog"]
    assert set(scores.values()) == {0.0, 1.0}


# ---------------------------------------------------------------- random


def test_random_is_reproducible_and_uniform() -> None:
    texts = [PersonaText(f"e{i}", (), "q", "one two three four five") for i in range(400)]
    identifier = load_identifier("random")
    found = identifier.score(texts, None)
    assert [one.scores for one in identifier.score(texts[::-1], None)[::-1]] == [one.scores for one in found]
    assert load_identifier("random", {"seed": 1}).score(texts, None)[0].scores != found[0].scores
    values = [score for one in found for score in one.scores]
    assert len(set(values)) == 2000
    assert all(0 <= value < 1 for value in values)
    for tenth in range(10):  # 200 expected of 2000; five standard deviations
        assert abs(sum(tenth / 10 <= value < (tenth + 1) / 10 for value in values) - 200) < 5 * 13.4


# ---------------------------------------------------------------- any text


@pytest.mark.parametrize("name", LEXICAL)
@settings(max_examples=50, deadline=None)
@given(persona=st.lists(st.text(), max_size=3), response=st.text())
def test_scores_of_any_text_are_finite(name: str, persona: list[str], response: str) -> None:
    background = (tuple(persona), ("I hunt.",))
    (found,) = load_identifier(name).score([text(persona, response, background)], None)
    assert len(found.scores) == len(found.spans)
    assert all(math.isfinite(score) for score in found.scores)
    assert all(0 <= start < end <= len(response) for start, end in found.spans)


@pytest.mark.parametrize("name", ["tfidf", "word_matching"])
@settings(max_examples=50, deadline=None)
@given(response=st.text())
def test_without_a_persona_nothing_is_personal(name: str, response: str) -> None:
    (found,) = load_identifier(name).score([text([], response, (("I hunt.",),))], None)
    assert set(found.scores) <= {0.0}


@pytest.mark.parametrize("name", LEXICAL)
def test_no_model_is_needed(name: str) -> None:
    assert not load_identifier(name).needs_model
