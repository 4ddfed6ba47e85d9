"""What of a test set training saw: by hand, by property, and where the built-in tasks stand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.api import Example
from perbench.data import load_examples
from perbench.data.overlap import LONG, Seen, notes, same_text
from perbench.specs.load import load_task

PROSE = "On Sundays we bake bread and walk along the river to the old mill."
OTHER = "She paints small red houses and plays the violin at night, quietly."
LISTED = "Bread, butter, two lemons, a bag of flour and the blue paint for the door."
CHINESE = "星期天我们烤面包，然后沿着河边一直走到老磨坊，路上看看鸭子，晚上拉小提琴，最后读一本长篇小说。"


def one(name: str, user: str, question: str, reference: str, *history: Any) -> Example:
    items = tuple(item if isinstance(item, dict) else {"text": item} for item in history)
    return Example(name, user, question, reference, items, {})


TRAIN = [
    one("train/0", "ann", "Ready?", "Yes, please."),
    one("train/1", "ann", "What do you do?", PROSE),
    one("train/2", "bob", "Where?", "No.", "A note.", {"title": "Old", "body": f"Diary: {OTHER} Bye."}),
    one("train/4", "dan", "Else?", "No.", {"text": "A", "more": {"list": [1, f"List: {LISTED}"]}}),
    one("train/3", "cem", "读什么？", "没有。", f"日记：{CHINESE}晚安。"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("test", "kind"),
    [
        (one("t", "ann", "Ready?", "Yes, please."), "rows"),  # short, and the very row
        (one("t", "ann", " ready? ", "yes,\n PLEASE."), "rows"),
        (one("t", "bob", "Ready?", "Yes, please."), None),  # another person says so, too
        (one("t", "ann", "Hungry?", "Yes, please."), None),
        (one("t", "dan", "Your Sundays?", PROSE.upper()), "texts"),
        (one("t", "dan", "Your Sundays?", PROSE[: LONG // 2]), None),
        (one("t", "dan", "Your nights?", OTHER), "histories"),  # within a larger item of somebody's
        (one("t", "dan", "Your nights?", OTHER.replace(" ", "  ")), "histories"),
        (one("t", "dan", "星期天呢？", CHINESE), "histories"),  # no spaces between words
        (one("t", "dan", "Your Sundays?", PROSE.replace("b", "\u200bb")), "texts"),  # seen by no reader
        (one("t", "dan", "Your Sundays?", PROSE.replace("S", "\uff33").replace(" ", "\xa0")), "texts"),
        (one("t", "dan", "Your list?", f"{LISTED}"), "histories"),  # deep in an item
        (one("t", "bob", "Note?", "A note."), None),  # short
        (one("t", "dan", "Your nights?", OTHER.replace("red", "blue")), None),
        (one("t", "dan", "", ""), None),  # a dialogue's, which asks for no text
    ],
)
def test_what_counts_as_seen(test: Example, kind: str | None) -> None:
    found = Seen(TRAIN).overlap(
        [test, one("u", "eve", "Else?", "Something else altogether, which nobody said.")]
    )
    assert {name for name in ("rows", "texts", "histories") if getattr(found, name)} == ({kind} - {None})
    assert found.seen == (["t"] if kind else [])
    assert found.tested == 2


def test_an_answer_in_its_own_history_is_counted_apart() -> None:
    test = [one("a", "ann", "?", PROSE, "x", f"<<{PROSE}>>"), one("b", "bob", "?", "Yes.", "Yes.")]
    found = Seen([]).overlap(test)
    assert (found.own, found.seen) == (["a"], [])
    assert found.counts == {"answers_in_own_history": 1}
    (note,) = notes(found.counts, found.tested, None)
    assert "1 of the 2" in note


def test_notes_say_what_was_trained_on_and_how_much_was_seen() -> None:
    counts = {"overlap_rows": 2, "overlap_histories": 1}
    (note,) = notes(counts, 5, "tiny/writing")
    for part in ("tiny/writing", "3 of the 5", "2 as the same row", "1 in a history"):
        assert part in note
    assert notes({}, 5, "tiny/writing") == []


words = st.text("abcdeéß ", min_size=0, max_size=8)
prose = st.lists(
    st.sampled_from(["river", "mill", "bread", "Sunday", "old", "walks", "é"]), min_size=9, max_size=14
)


@settings(max_examples=60)
@given(
    prose.map(" ".join),
    words,
    words,
    st.sampled_from([str.upper, str.lower, lambda text: text.replace(" ", "\n ")]),
)
def test_a_long_text_is_found_in_a_history_whatever_stands_around_it(
    text: str, left: str, right: str, say: Any
) -> None:
    history = one("x", "x", "?", "short", "nothing", f"{left} {say(text)} {right}")
    found = Seen([history]).overlap([one("t", "y", "?", text)])
    assert bool(found.histories) == (len(same_text(text)) >= LONG)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ab"), words, prose.map(" ".join)), min_size=1, max_size=4))
def test_a_set_overlaps_with_itself_wholly_and_counts_each_once(rows: list[tuple[str, str, str]]) -> None:
    examples = [one(f"e{n}", *row) for n, row in enumerate(rows)]
    found = Seen(examples).overlap(examples)
    assert found.rows == [example.id for example in examples]
    assert found.seen == found.rows


@pytest.mark.parametrize(
    "name", ["embedded/chitchat_reply", "embedded/sotu_writing", "identification/persona_qa"]
)
def test_the_built_in_splits_share_nothing(name: str) -> None:
    task = load_task(name)
    train, test = (load_examples(task, split) for split in ("train", "test"))
    assert Seen(train.examples).overlap(test.examples).counts == {}


def test_no_built_in_task_overlaps_with_another() -> None:
    names = ("embedded/chitchat_reply", "embedded/sotu_writing")
    for source in names:
        seen = Seen(load_examples(load_task(source), "train").examples)
        for target in names:
            assert seen.overlap(load_examples(load_task(target), "test").examples).counts == {}
