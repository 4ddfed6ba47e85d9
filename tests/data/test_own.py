"""What a user's own adapter learns from: that user's data, and never a text that is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from perbench.api import Example
from perbench.data.own import own_data
from perbench.errors import PerbenchError
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import task_spec

SPEC: dict[str, Any] = {
    "summary": "Reviews",
    "protocol": "generation",
    "license": "none",
    "data": {"files": "unread"},
    "fields": {
        "user": "u",
        "question": "q",
        "reference": "r",
        "persona": "p",
        "extra": ["stars"],
        "item_example": {"question": "Review {title}.", "reference": "{text}"},
    },
    "prompt": "one",
    "prompts": {"one": {"system": "{persona}", "item": "{text}"}},
    "metrics": ["rouge1"],
    "headline": "rouge1",
}
TASK: Named[TaskSpec] = Named("toy/reviews", task_spec()(**SPEC), None)


def item(text: str) -> dict[str, Any]:
    return {"title": text[:3], "text": text, "stars": len(text)}


def example(name: str, user: str, reference: str, *texts: str) -> Example:
    return Example(name, user, "Review.", reference, tuple(map(item, texts)), {"stars": 0})


TEST = [
    example("test/ann/0", "ann", "asked one", "first", "second", "asked two"),
    example("test/ann/1", "ann", "asked two", "second", "third"),
    example("test/bob/2", "bob", "asked three", "first"),
    example("test/cem/3", "cem", "asked four"),
]
TRAIN = [
    example("train/ann/0", "ann", "before", "first"),
    example("train/dan/1", "dan", "elsewhere", "x"),
    example("train/cem/2", "cem", "earlier"),
]


def test_items_become_examples_of_their_user() -> None:
    own = own_data(TASK, TRAIN, TEST, "history")
    assert {user: [one.reference for one in found] for user, found in own.examples.items()} == {
        "ann": ["first", "second", "third"],
        "bob": ["first"],
    }
    second = own.examples["ann"][1]
    assert second == Example(
        "test/ann/0/item 1",
        "ann",
        "Review sec.",
        "second",
        (item("first"),),  # the other items, as the history of a request, less what is asked for
        {"stars": 6},
    )
    assert (own.users, own.held_out) == (3, 1)  # "asked two" is asked for in another example of ann's


def test_own_training_examples_count_when_asked_for() -> None:
    examples = own_data(TASK, TRAIN, TEST, "examples").examples
    assert {user: [one.id for one in own] for user, own in examples.items()} == {
        "ann": ["train/ann/0"],
        "cem": ["train/cem/2"],
    }
    both = own_data(TASK, TRAIN, TEST, "both")
    assert [one.reference for one in both.examples["ann"]] == ["first", "second", "third", "before"]
    assert list(both.examples) == ["ann", "bob", "cem"]


def test_a_text_that_is_asked_for_is_never_learnt() -> None:
    train = [*TRAIN, example("train/bob/9", "bob", " asked three\n")]
    own = own_data(TASK, train, TEST, "both")
    for user, examples in own.examples.items():
        asked = {one.reference for one in TEST if one.user == user}
        assert asked.isdisjoint(one.reference.strip() for one in examples)
    assert own.held_out == 2


@pytest.mark.parametrize("kind", ["history", "examples", "both"])
def test_a_user_depends_on_no_other(kind: Any) -> None:
    whole = own_data(TASK, TRAIN, TEST, kind)
    turned = own_data(TASK, TRAIN[::-1], [*TEST[2:], *TEST[:2]], kind)
    assert turned == whole
    assert turned.digest == whole.digest
    without = own_data(TASK, TRAIN, TEST[:2], kind)
    assert without.examples == {"ann": whole.examples["ann"]}
    assert without.digest != whole.digest


def test_a_task_that_does_not_say_how_is_named() -> None:
    spec = task_spec()(**{**SPEC, "fields": {**SPEC["fields"], "item_example": None}})
    bare: Named[TaskSpec] = Named("toy/bare", spec, None)
    with pytest.raises(
        PerbenchError, match=r"task toy/bare: .*fields\.item_example .*per_user\.data to examples"
    ):
        own_data(bare, TRAIN, TEST, "history")
    assert own_data(bare, TRAIN, TEST, "examples").examples.keys() == {"ann", "cem"}
    odd = [Example("test/a/0", "a", "q", "r", ({"text": "t"},), {"stars": 0})]
    with pytest.raises(
        PerbenchError, match=r"test/a/0: a history item has no field 'title' .*its fields: text"
    ):
        own_data(TASK, [], odd, "history")


def test_what_gives_an_answer_away_is_neither_learnt_nor_shown() -> None:
    """An item that holds a test answer within a longer text, or writes it otherwise, in any history."""
    prose = "On Sundays we bake bread and walk along the river to the old mill."
    asked = example("test/ann/0", "ann", prose, "first", f"Again: {prose.upper()} So it is.")
    known = example("train/ann/0", "ann", "before", "second", f"<{prose}>")
    own = own_data(TASK, [known], [asked], "both")
    assert [one.reference for one in own.examples["ann"]] == ["first", "before"]
    assert [one.persona for one in own.examples["ann"]] == [(), (item("second"),)]
    assert own.held_out == 1
    said = example("train/ann/1", "ann", f"{prose} And more.", "third")
    assert own_data(TASK, [said], [asked], "examples").held_out == 1


def oppus_histories(items: list[str]) -> list[list[str]]:
    """The visible history of each item in OPPU's code, which lists a profile oldest first."""
    return [items[:place] for place in range(len(items))]


def test_earlier_items_alone_are_history_as_in_oppus_code() -> None:
    texts = ["one", "two", "three", "four"]
    asked = example("test/ann/0", "ann", "asked", *texts)
    own = own_data(TASK, [], [asked], "history", "earlier")
    found = [[one["text"] for one in made.persona] for made in own.examples["ann"]]
    assert found == oppus_histories(texts)
    assert own.digest != own_data(TASK, [], [asked], "history").digest


def test_earlier_is_by_the_items_time_and_never_at_the_same_time() -> None:
    spec = task_spec()(**{**SPEC, "persona": {"time": "when"}})
    timed: Named[TaskSpec] = Named("toy/timed", spec, None)
    days = {"new": 9, "mid": 5, "twin": 5, "old": 1}
    persona = tuple({**item(text), "when": when} for text, when in days.items())
    asked = Example("test/ann/0", "ann", "Review.", "asked", persona, {"stars": 0})
    own = own_data(timed, [], [asked], "history", "earlier").examples["ann"]
    assert {one.reference: [other["text"] for other in one.persona] for one in own} == {
        "new": ["mid", "twin", "old"],
        "mid": ["old"],
        "twin": ["old"],
        "old": [],
    }
    undated = Example("test/ann/0", "ann", "Review.", "asked", (item("text"),), {"stars": 0})
    with pytest.raises(PerbenchError, match=r"test/ann/0: persona item 0 has no field 'when'"):
        own_data(timed, [], [undated], "history", "earlier")
