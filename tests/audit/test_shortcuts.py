"""Shortcuts by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.api import Example
from perbench.audit.shortcuts import (
    RULES,
    chance,
    credits,
    held_words,
    long_words,
    of_options,
    of_texts,
    persona_words,
)
from perbench.contracts.data import Offered

OFFERS = [
    Offered(["red", "a blue boat", "green"], 1),
    Offered(["tall tree", "tiny tree"], 0),
    Offered(["x", "y", "z", "zz"], 2),
]
ASKED = [
    Example("0", "ann", "Which boat?", "", ({"text": "My boat is BLUE."},)),
    Example("1", "bob", "Which tree?", "", ({"text": "A tiny house."},)),
    Example("2", "cyd", "?", ""),
]


@pytest.mark.parametrize(
    ("rule", "credit"),
    [
        ("longest", [1, 1 / 2, 0]),
        ("shortest", [0, 1 / 2, 1 / 3]),
        ("first", [0, 1, 0]),
        ("usual_place", [0, 0, 0]),  # each place once, so never that of another user
        ("persona_words", [1, 0, 1 / 4]),  # both of two words; none of "tall", "tree" against "tiny"; all tie
        ("question_words", [1, 1 / 2, 1 / 4]),
    ],
)
def test_each_rule_picks_an_option_and_ties_share(rule: str, credit: list[float]) -> None:
    assert credits(OFFERS, ASKED, persona_words(ASKED))[rule] == pytest.approx(credit)
    (found,) = [one for one in of_options(OFFERS, ASKED, persona_words(ASKED)) if one.name == rule]
    assert found.metrics["accuracy"].value == pytest.approx(sum(credit) / 3)


def _credit(options: list[str], gold: int, example: Example, rule: str) -> float:
    return credits([Offered(options, gold)], [example], persona_words([example]))[rule][0]


@given(st.lists(st.text("ab cdefgh", max_size=12), min_size=2, max_size=5), st.text("ab cdefgh", max_size=20))
def test_a_rule_picks_one_option_in_all(options: list[str], persona: str) -> None:
    example = Example("0", "ann", persona[::-1], "", ({"text": persona},))
    for rule in RULES:
        if rule != "usual_place":  # which depends on the right one
            each = [_credit(options, gold, example, rule) for gold in range(len(options))]
            assert sum(each) == pytest.approx(1)


def test_chance_is_by_the_number_of_options() -> None:
    assert chance(OFFERS) == pytest.approx((1 / 3 + 1 / 2 + 1 / 4) / 3)


def test_long_words_have_four_letters_in_any_case() -> None:
    assert long_words("The Ferry's goat, THE\u200bRE: 2026, tea; übel") == {
        *("ferry", "goat", "there", "2026", "übel"),
    }


def test_shares_of_the_answers_words() -> None:
    examples = [
        Example(
            "0", "ann", "About goats?", "Goats love fresh hay.", ({"text": "I have goats, fresh ones."},)
        ),
        Example("1", "bob", "And?", "No.", ({"text": "Hay."},)),  # no long word
        Example("2", "cyd", "And?", "Fresh bread.", ()),
    ]
    others = [examples[1], None, examples[0]]
    found = {
        one.name: one.metrics["share"]
        for one in held_words(examples, [e.reference for e in examples], others, persona_words(examples))
    }
    # "goats", "love", "fresh": two in the persona, one in the question, none with bob.
    assert found["persona"].value == pytest.approx((2 / 3 + 0) / 2)
    assert found["question"].value == pytest.approx((1 / 3 + 0) / 2)
    assert found["other_persona"].value == pytest.approx((0 + 1 / 2) / 2)
    assert found["own_over_other"].value == pytest.approx((2 / 3 - 1 / 2) / 2)
    assert found["persona"].missing == 1


def test_copied_texts_are_cut_to_the_median_length() -> None:
    test = [
        Example(
            "0", "ann", "the goat eats", "the goat eats", ({"text": "hay"}, {"text": "our goat eats hay"})
        ),
        Example("1", "bob", "really", "Yes.", ()),
    ]
    train = [
        Example(f"t{i}", "cyd", "", answer)
        for i, answer in enumerate(["no", "YES.", "yes. ", "a b c", "a b c d"])
    ]
    found = {one.name: one.metrics for one in of_texts(test, train)}
    # Words of the training answers: 1, 1, 1, 3, 4, so that every copy is its first word.
    assert found["question"]["exact"].value == 0  # "the" is not "the goat eats"
    assert found["question"]["rouge1"].value == pytest.approx((2 * 1 * (1 / 3) / (4 / 3) + 0) / 2)
    assert found["persona_item"]["rouge1"].value == 0  # "our"; and no persona at all
    assert found["training_answer"]["exact"].value == 1 / 2  # "yes." twice
    without = {one.name: one.metrics for one in of_texts(test, [])}
    assert "training_answer" not in without
    assert without["question"]["exact"].value == 1 / 2  # two answers of 1 and 3 words: cut at 3
    # "our goat eats" against "the goat eats": two of three words.
    assert without["persona_item"]["rouge1"].value == pytest.approx((2 / 3 + 0) / 2)


def test_of_an_item_only_its_answer_is_copied() -> None:
    films = [
        {"plot": "a goat in space", "tag": "Sci-fi"},
        {"plot": "a wedding", "tag": "comedy"},
        {"plot": "two weddings", "tag": " COMEDY"},
    ]
    test = [
        Example("0", "ann", "Tag of: the goat returns to space", "sci-fi", tuple(films)),
        Example("1", "bob", "Tag of: a wedding, again", "comedy", tuple(films)),
        Example("2", "cyd", "Tag of: nothing", "comedy", ()),
    ]
    found = {one.name: one.metrics["exact"].value for one in of_texts(test, [], "{tag}")}
    assert found == {
        "persona_item": pytest.approx(2 / 3),
        "persona_answer": pytest.approx(1 / 3),  # comedy for all who have a persona
        "question": 0,
        "split_answer": pytest.approx(2 / 3),
    }


def test_the_usual_place_is_that_of_other_users() -> None:
    pairs = [Offered(["x", "y"], 1)] * 3
    two = [Example(str(n), user, "?", "") for n, user in enumerate(("ann", "ann", "bob"))]
    assert credits(pairs, two, persona_words(two))["usual_place"] == [1, 1, 1]
    one = [Example(str(n), "ann", "?", "") for n in range(3)]
    assert credits(pairs, one, persona_words(one))["usual_place"] == [
        1 / 2,
        1 / 2,
        1 / 2,
    ]  # nobody else: a tie
