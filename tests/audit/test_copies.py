"""Near copies: by hand at every border of the rule, and against every pair of places."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.audit.copies import RUN, Copies, words

ANSWER = "On Sundays we bake bread, walk along the river to the old mill and count the ducks."
"""17 words."""
BRIEF = "Grandmother's marmalade: oranges, sugar, patience."
"""7 words, of at least 40 characters."""


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (ANSWER, True),
        (f"Diary. {ANSWER.upper()} Bye.", True),
        ("SUNDAYS, we bake -- bread; walk along the\nriver to the old (mill) again", True),  # 12 of its words
        ("Sundays we bake bread walk along the river to the old well", False),  # 11 of them
        ("the river to the old mill and count the ducks by walking along", False),  # 10, at its end
        ("we bake bread walk along a river to the old mill and count the ducks", False),  # 5 and 9
        ("", False),
    ],
)
def test_twelve_words_in_a_row_are_a_copy(text: str, held: bool) -> None:
    assert Copies(["Something else that nobody else would ever say at all.", ANSWER]).within(text) == (
        {1} if held else set()
    )


def test_a_shorter_answer_is_copied_as_a_whole() -> None:
    copies = Copies([BRIEF, "Yes, please.", ""])
    assert copies.searched == 1
    assert copies.within(f"My notes: {BRIEF.lower().replace(',', '')} And more.") == {0}
    assert copies.within("Grandmother's marmalade: oranges, sugar") == set()
    assert copies.within("Yes, please.") == set()  # recurs by chance


LETTERS = st.lists(st.sampled_from("ab"), max_size=40)


@given(st.lists(LETTERS, min_size=1, max_size=3), LETTERS)
def test_the_same_as_by_every_pair_of_places(texts: list[list[str]], searched: list[str]) -> None:
    answers = [" ".join(f"{letter}xyz" for letter in text) for text in texts]  # four letters a word
    text = " ".join(f"{letter}xyz" for letter in searched)

    def copied(answer: str) -> bool:
        own, there = words(answer), words(text)
        run = min(RUN, len(own))
        grams = {tuple(there[at : at + run]) for at in range(len(there) - run + 1)}
        return len(answer) >= 40 and any(
            tuple(own[at : at + run]) in grams for at in range(len(own) - run + 1)
        )

    assert Copies(answers).within(text) == {place for place, one in enumerate(answers) if copied(one)}


def test_long_texts_are_searched_at_every_place() -> None:
    rng = random.Random(0)
    noise = [f"word{rng.randrange(500)}" for _ in range(3000)]
    answer = [f"own{number}" for number in range(30)]
    copies = Copies([" ".join(answer)])
    for place in range(40):
        run = answer[place % 19 : place % 19 + RUN]
        assert copies.within(" ".join([*noise[:place], *run, *noise[place:]])) == {0}, place
        assert not copies.within(" ".join([*noise[:place], *run[:-1], *noise[place:]])), place
